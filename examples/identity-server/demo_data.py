#!/usr/bin/env python3
"""Fills a demo server with sessions, by the requests that real clients make.

    demo_data.py [--issuer URL] [--backups N]

Alice connects Photo Album, Pocket Notes and the command line, each from a
device of its own; Alice, Bob and the service account have N nightly backups.
Python's own library is all that it needs.

SPDX-License-Identifier: MIT
"""
import argparse
import base64
import hashlib
import html
import http.client
import json
import re
import secrets
from typing import Dict, List, Optional, Tuple
from urllib.parse import parse_qs, urlencode, urlsplit

MOZILLA = "Mozilla/5.0 "
LINUX = MOZILLA + "(X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
PHONE = (MOZILLA + "(Linux; Android 14; Pixel 8) AppleWebKit/537.36 "
         "(KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36")
MAC = (MOZILLA + "(Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
       "(KHTML, like Gecko) Version/17.5 Safari/605.1.15")
WINDOWS = (MOZILLA + "(Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
           "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0")
HOSTS = ("nas", "laptop", "attic", "studio", "garage", "office", "cabin")

# id, secret, redirect URI, scopes
PHOTO_ALBUM = ("photo-album", "photo-album-demo-secret",
               "http://localhost:8081/callback",
               "openid profile email offline_access files.read")
POCKET_NOTES = ("pocket-notes", None, "http://127.0.0.1:8123/callback",
                "openid profile offline_access notes.write")


class Agent:
    """A browser, or another program: keeps its cookies, follows nothing."""

    def __init__(self, issuer: str, name: str) -> None:
        self.issuer = urlsplit(issuer)
        self.name = name
        self.cookies: Dict[str, str] = {}

    def send(self, method: str, path: str, form: Optional[dict] = None
             ) -> Tuple[int, str, str]:
        """Answers with the status, the Location and the body."""
        secure = self.issuer.scheme == "https"
        kind = (http.client.HTTPSConnection if secure
                else http.client.HTTPConnection)
        connection = kind(self.issuer.netloc, timeout=10)
        headers = {"User-Agent": self.name}
        if self.cookies:
            headers["Cookie"] = "; ".join(
                f"{k}={v}" for k, v in self.cookies.items())
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(form) if form is not None else None
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        text = response.read().decode()
        connection.close()
        return response.status, response.headers.get("Location", ""), text

    def submit(self, page: str, answers: dict, action: str
               ) -> Tuple[int, str, str]:
        """Answers the form of a page that goes to `action`."""
        for form in re.findall(r"<form.*?</form>", page, re.S):
            target = re.search(r'action="([^"]*)"', form)
            if target and html.unescape(target[1]).startswith(action):
                break
        else:
            raise RuntimeError(f"no form that goes to {action}")
        values = hidden_fields(form)
        values.update(answers)
        return self.send("POST", html.unescape(target[1]), values)

    def log_in(self, user: str) -> None:
        page = self.send("GET", "/login")[2]
        answers = {"username": user, "password": user + "-demo"}
        status, _, _ = self.submit(page, answers, "/login")
        if status != 303:
            raise RuntimeError(f"{user} could not log in: {status}")

    def token(self, client: str, secret: Optional[str], **form: str) -> dict:
        form["client_id"] = client
        if secret is not None:
            form["client_secret"] = secret
        status, _, body = self.send("POST", "/token", form)
        if status != 200:
            raise RuntimeError(f"{client}: {status} {body}")
        return json.loads(body)


def hidden_fields(form: str) -> Dict[str, str]:
    values = {}
    for field in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', field))
        if attributes.get("type") == "hidden":
            values[attributes["name"]] = html.unescape(attributes["value"])
    return values


def connect(browser: Agent, client: tuple, agent: str) -> str:
    """The authorization code flow; the tokens go to `agent`."""
    name, secret, redirect_uri, scope = client
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    query = {"response_type": "code", "client_id": name, "scope": scope,
             "redirect_uri": redirect_uri, "state": secrets.token_urlsafe(8),
             "code_challenge": challenge, "code_challenge_method": "S256",
             "prompt": "consent"}
    status, location, page = browser.send(
        "GET", "/authorize?" + urlencode(query))
    if status == 200:
        status, location, page = browser.submit(
            page, {"answer": "allow"}, "/consent")
    code = parse_qs(urlsplit(location).query).get("code")
    if code is None:
        raise RuntimeError(f"{name}: no code, but {status} {location}")
    tokens = Agent(browser.issuer.geturl(), agent).token(
        name, secret, grant_type="authorization_code", code=code[0],
        redirect_uri=redirect_uri, code_verifier=verifier)
    return tokens["refresh_token"]


def connect_device(browser: Agent, agent: str) -> str:
    """The device grant of the command line."""
    device = Agent(browser.issuer.geturl(), agent)
    form = {"client_id": "notes-cli",
            "scope": "openid offline_access notes.write"}
    codes = json.loads(device.send("POST", "/device_authorization", form)[2])
    query = urlencode({"user_code": codes["user_code"], "check": "1"})
    page = browser.send("GET", "/device?" + query)[2]
    browser.submit(page, {"answer": "allow"}, "/device")
    tokens = device.token(
        "notes-cli", None, device_code=codes["device_code"],
        grant_type="urn:ietf:params:oauth:grant-type:device_code")
    return tokens["refresh_token"]


def back_up(issuer: str, user: Optional[str], agent: str) -> str:
    program = Agent(issuer, agent)
    form = {"scope": "openid offline_access files.read"}
    if user is None:
        form = {"scope": "offline_access files.read",
                "grant_type": "client_credentials"}
    else:
        form.update(grant_type="password", username=user,
                    password=user + "-demo")
    return program.token("nightly-backup", "nightly-backup-demo-secret",
                         **form)["refresh_token"]


def refresh(issuer: str, client: str, secret: Optional[str], token: str,
            agent: str) -> str:
    tokens = Agent(issuer, agent).token(
        client, secret, grant_type="refresh_token", refresh_token=token)
    return tokens["refresh_token"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Fills a demo server with sessions.")
    parser.add_argument("--issuer", default="http://localhost:8080")
    parser.add_argument("--backups", type=int, default=3, metavar="N")
    options = parser.parse_args()
    issuer = options.issuer.rstrip("/")

    laptop, phone = Agent(issuer, LINUX), Agent(issuer, PHONE)
    for browser in (laptop, phone, Agent(issuer, MAC)):
        browser.log_in("alice")
    album = [connect(laptop, PHOTO_ALBUM, WINDOWS)]
    notes = [connect(phone, POCKET_NOTES, PHONE),
             connect(laptop, POCKET_NOTES, MAC)]
    line = connect_device(laptop, "notes/1.0 (Linux; workstation)")
    backups: List[str] = []
    for user in ("alice", "bob", None):
        for i in range(options.backups):
            agent = f"backup-{HOSTS[i % len(HOSTS)]}/2.1 (Linux)"
            backups.append(back_up(issuer, user, agent))
    for token in album:
        refresh(issuer, PHOTO_ALBUM[0], PHOTO_ALBUM[1], token, WINDOWS)
    for token in notes:
        refresh(issuer, POCKET_NOTES[0], None, token, PHONE)
    refresh(issuer, "notes-cli", None, line, "notes/1.0 (Linux; workstation)")
    for token in backups:
        refresh(issuer, "nightly-backup", "nightly-backup-demo-secret",
                token, "backup/1.0 (Linux)")
    print(f"{len(album) + len(notes) + 1 + len(backups)} offline sessions")


if __name__ == "__main__":
    main()
