#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Notes on the command line. It stays logged in, for months, until `notes.py logout`.

    notes.py login     shows a code and where to type it: on this machine, or on your phone
    notes.py whoami    who that was
    notes.py status    what is known without asking the server
    notes.py list      the notes
    notes.py add TEXT  one more
    notes.py logout    revokes the login, and forgets it

The status is 0: done; 75: trouble, try again; 77: log in, or again; 2: a wrong call; 1: anything else.
"""

from __future__ import annotations

import argparse
import time
import uuid
from typing import Any

import requests
from authlib.integrations.base_client import OAuthError

import provider
from filesclient import FilesClient
from provider import Client, NotConnected, Trouble, endpoint, issuer, printable, state_folder
from tokenfile import OfflineSession

CLIENT = Client("notes-cli")  # who has a copy of this program has all that it knows: it can keep no secret
SCOPE = "openid profile offline_access notes.write"
DEVICE_ANSWER = {"device_code", "user_code", "verification_uri"}
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


def session() -> OfflineSession:
    return OfflineSession(CLIENT, state_folder() / "notes.json", login="run `notes.py login`")


def login() -> int:
    """The device grant (RFC 8628)."""
    device = start_login()
    print(f"Open   {printable(device['verification_uri'])}\nand type   {printable(device['user_code'])}\n")
    if device.get("verification_uri_complete"):
        print(f"Or open   {printable(device['verification_uri_complete'])}\n")
    print("Waiting for you ...", flush=True)
    session().keep(wait_for_user(device))
    print("Logged in, until `notes.py logout`.")
    return 0


def start_login() -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        response = requests.post(endpoint("device_authorization_endpoint"), timeout=provider.TIMEOUT,
                                 allow_redirects=False, data={"client_id": CLIENT.client_id, "scope": SCOPE})
        if response.status_code >= 500:
            response.raise_for_status()
        answer = response.json()
        if not isinstance(answer, dict) or not ({"error"} <= answer.keys() or DEVICE_ANSWER <= answer.keys()):
            raise ValueError("no answer of a device authorization endpoint")
        return answer

    answer = provider.patiently(ask, 20)
    if "error" in answer:
        raise OAuthError(answer["error"], answer.get("error_description"))
    return answer


def wait_for_user(device: dict[str, Any]) -> dict[str, Any]:
    """Asks as often as it may (RFC 8628 section 3.5). The server keeps the answer for one who did not get it."""
    pause = float(device.get("interval", 5))
    end = time.monotonic() + float(device.get("expires_in", 600))
    while time.monotonic() + pause < end:
        time.sleep(pause)
        try:
            return CLIENT.tokens(seconds=5, grant_type=DEVICE_CODE, device_code=device["device_code"])
        except Trouble:
            pause = min(2 * pause, 60)
        except OAuthError as error:
            if error.error == "slow_down":
                pause += 5
            elif error.error != "authorization_pending":
                raise NotConnected(f"Not logged in: {printable(error.description or error.error)}") from None
    raise NotConnected("Nobody has typed the code in time.")


def whoami() -> int:
    """UserInfo (OpenID Connect Core 1.0 section 5.3)."""
    token = session().access_token()

    def ask() -> dict[str, Any]:
        response = requests.get(endpoint("userinfo_endpoint"), headers={"Authorization": "Bearer " + token},
                                timeout=provider.TIMEOUT, allow_redirects=False)
        response.raise_for_status()
        return response.json()

    user = provider.patiently(ask, 20)
    print(f"{printable(user.get('name', user['sub']))} ({printable(user['sub'])}) at {issuer()}")
    return 0


def status() -> int:
    about = session().about()
    if about is None:
        raise NotConnected(f"Not logged in at {issuer()}: run `notes.py login`.")
    print(f"server     {issuer()}\nsince      {at(about['since'])}\nlast used  {at(about.get('used'))}")
    print(f"used       {about['uses']} times\nmay        {printable(about['scope'])}")
    if "ended" in about:
        raise NotConnected(f"Ended, which was noticed on {at(about['ended'])}: run `notes.py login`.")
    return 0


def at(seconds: int | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "never"


def show_notes() -> int:
    for note in FilesClient(session()).notes():
        print(printable(note["text"]))
    return 0


def add(text: str) -> int:
    FilesClient(session()).put_note(str(uuid.uuid4()), text)
    return 0


def logout() -> int:
    print("Logged out." if session().end() else "You were not logged in.")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("login", "whoami", "status", "list", "logout"):
        commands.add_parser(name)
    commands.add_parser("add").add_argument("text", metavar="TEXT")
    arguments = parser.parse_args()
    if arguments.command == "add":
        return add(arguments.text)
    programs = {"login": login, "whoami": whoami, "status": status, "list": show_notes, "logout": logout}
    return programs[arguments.command]()


if __name__ == "__main__":
    provider.finish(main)
