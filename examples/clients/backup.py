#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A nightly backup: connected once, in a browser; from then on it acts for a user who is asleep.

    backup.py connect     asks the user, in a browser, and keeps the offline token
    backup.py run         for cron: fetches the user's files into a new dated folder
    backup.py disconnect  revokes the offline token, and forgets it
    backup.py service     as run, but for the program's own account: nobody is asked

The status is 0: done; 75: trouble, the next run may succeed; 77: the user has to connect again; 2: a wrong call;
1: anything else.
"""

from __future__ import annotations

import argparse
import datetime
import hmac
import http.server
import pathlib
import shutil
import tempfile
import threading
import webbrowser
from typing import Any
from urllib.parse import parse_qs, urlsplit

from authlib.common.security import generate_token

import provider
from filesclient import FilesClient
from provider import Client, NotConnected, Refused, endpoint, issuer, printable, setting, state_folder
from tokenfile import OfflineSession

CLIENT = Client("nightly-backup", setting("NIGHTLY_BACKUP_SECRET", "nightly-backup-demo-secret"))
SCOPE = "openid offline_access files.read"
MINUTES_TO_ANSWER = 10


def user_session() -> OfflineSession:
    return OfflineSession(CLIENT, state_folder() / "backup.json", login="run `backup.py connect`")


def service_session() -> OfflineSession:
    return OfflineSession(CLIENT, state_folder() / "backup-service.json")


class Redirected(http.server.BaseHTTPRequestHandler):
    """What the browser brings back: one redirect to /callback with our state (RFC 8252 section 7.3)."""

    server: Loopback
    timeout = 10

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        answer = {name: values[0] for name, values in parse_qs(url.query).items() if len(values) == 1}
        ours = hmac.compare_digest(answer.get("state", "").encode(), self.server.state.encode())
        if url.path != "/callback" or not ours:
            self.say(404, "Not found.")
            return
        self.server.answer = answer
        self.say(200, "You can close this window, and go back to the terminal.")
        self.server.answered.set()

    def say(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))),
                            ("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the request line has the code in it."""


class Loopback(http.server.ThreadingHTTPServer):
    """A server for that one redirect, on a free port of this machine. It has threads, since browsers open connections
    on which they say nothing."""

    def __init__(self, state: str):
        super().__init__(("127.0.0.1", 0), Redirected)
        self.state = state
        self.answer: dict[str, str] = {}
        self.answered = threading.Event()
        self.redirect_uri = f"http://127.0.0.1:{self.server_port}/callback"

    def wait(self) -> dict[str, str]:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            if not self.answered.wait(60 * MINUTES_TO_ANSWER):
                raise NotConnected(f"Nobody has answered for {MINUTES_TO_ANSWER} minutes.")
            return self.answer
        finally:
            self.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that hangs up is none of our business."""


def connect(browser: bool) -> int:
    verifier, state = generate_token(48), generate_token(32)
    with Loopback(state) as loopback:
        with CLIENT.session(scope=SCOPE, redirect_uri=loopback.redirect_uri) as session:
            url, _ = session.create_authorization_url(endpoint("authorization_endpoint"), state=state,
                                                      code_verifier=verifier, prompt="consent")
        print(f"Open this in a browser, and allow the backup:\n\n    {url}\n", flush=True)
        if browser:
            webbrowser.open(url)
        answer = loopback.wait()
    # A code of another server must not be shown to this one (RFC 9207).
    if answer.get("iss", issuer()) != issuer():
        raise Refused("The answer is from another server.")
    if "code" not in answer:
        raise NotConnected(f"Not connected: {printable(answer.get('error_description') or answer.get('error'))}")
    tokens = CLIENT.tokens(grant_type="authorization_code", code=answer["code"], redirect_uri=loopback.redirect_uri,
                           code_verifier=verifier)
    user_session().keep(tokens)
    print("Connected. `backup.py run` works from now on, whether you are logged in or not.")
    return 0


def run(session: OfflineSession) -> int:
    """All files in a new folder, or no folder."""
    api = FilesClient(session)
    folder = pathlib.Path(setting("BACKUPS", str(state_folder() / "backups")))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = pathlib.Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        names = [str(file["name"]) for file in api.files()]
        for name in names:
            (unfinished / safe_name(name)).write_bytes(api.file(name))
        dated = finished(unfinished, folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    print(f"{len(names)} files in {dated}")
    return 0


def safe_name(name: str) -> str:
    """A name that came from elsewhere, if it is one for a file in this folder."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 200:
        raise Refused(f"The files API has a file that cannot be kept: {printable(name)}")
    return name


def finished(unfinished: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Gives the folder its date. Two runs may end in one second: rename() fails where a folder is that is not empty, or
    replaces one that is."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ")
    for number in range(1, 100):
        dated = folder / (now if number == 1 else f"{now}-{number}")
        try:
            return unfinished.rename(dated)
        except OSError:
            if not dated.exists():
                raise
    raise Refused(f"No name is free for {now}.")


def run_service() -> int:
    """With an offline token too: the session is in the administrator's list, and can be ended there. If it was, the
    program, which has credentials of its own, asks for another; what ends that is to take those away."""
    session = service_session()
    try:
        return run(session)
    except NotConnected:
        session.keep(CLIENT.tokens(grant_type="client_credentials", scope="offline_access files.read"))
        return run(session)


def disconnect() -> int:
    print("Disconnected." if user_session().end() else "There was no connection.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("connect", "run", "disconnect", "service"))
    parser.add_argument("--no-browser", action="store_true", help="connect: print the URL, and open nothing")
    arguments = parser.parse_args()
    if arguments.command == "connect":
        return connect(browser=not arguments.no_browser)
    if arguments.command == "run":
        return run(user_session())
    return disconnect() if arguments.command == "disconnect" else run_service()


if __name__ == "__main__":
    provider.finish(main)
