# SPDX-License-Identifier: MIT
"""An offline token on disk: how it is kept, used and ended so that neither a lost response, nor a crash, nor two runs
at once lose it.

* Whoever reads it to refresh holds the lock until the new one is stored.
* A new token is stored, down to the disk, before anything is done with what came with it.
* Trouble is no refusal: the same token is used again, and the server answers a retry with the same successor.
* Only `invalid_grant` means that it has ended. Even then the file stays, until a new login replaces it.
* Access tokens are never on disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import signal
import stat
import threading
import time
from collections.abc import Iterator
from typing import Any

from authlib.integrations.base_client import OAuthError

import provider
from provider import Client, NotConnected, Refused, Trouble


class TokenFile:
    """A JSON object in a file that is its owner's alone, and the lock beside it."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.lock_path = path.with_name(path.name + ".lock")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Waits until no other process, and no other thread, has it. The lock's file stays: who removed it would let in
        one who holds the old file, and one who made a new one."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def read(self) -> dict[str, Any] | None:
        """None: there is no file."""
        try:
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW), encoding="utf-8") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise Refused(f"{self.path} can be read by others: chmod 600, if nobody has")
                held = json.load(file)
        except FileNotFoundError:
            return None
        except ValueError:
            raise Refused(f"{self.path} is damaged: log in again") from None
        if not isinstance(held, dict) or not isinstance(held.get("refresh_token"), str):
            raise Refused(f"{self.path} is damaged: log in again")
        return held

    def write(self, held: dict[str, Any]) -> None:
        """The old content or the new one is there, whole, whatever happens; the new one once this returns."""
        new = self.path.with_name(self.path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()  # of somebody who was killed here
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(held, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self.path)
        self._sync_folder()

    def remove(self) -> None:
        self.path.unlink()
        self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class OfflineSession:
    """An offline token of a client, in a file; or the place for one."""

    def __init__(self, client: Client, path: pathlib.Path, patience: float = 45, login: str = "log in"):
        self.client = client
        self.file = TokenFile(path)
        self.patience = patience  # seconds
        self.login = login  # what the user is told to do when it has ended

    def keep(self, answer: dict[str, Any], **about: Any) -> None:
        """Keeps the offline token of a new login, and what else is worth knowing about it. The one before is revoked:
        nobody would use it again, and it would stand in its user's list for good."""
        if not isinstance(answer.get("refresh_token"), str):
            raise Refused("The server did not grant an offline token: this user, or this client, may not have one.")
        with self.file.locked():
            try:
                before = self.file.read()
            except Refused:
                before = None
            self.file.write({"issuer": provider.issuer(), "client_id": self.client.client_id,
                             "refresh_token": answer["refresh_token"], "scope": answer.get("scope", ""),
                             "since": int(time.time()), "uses": 0, **about})
        if before and self._is_ours(before) and before["refresh_token"] != answer["refresh_token"]:
            with contextlib.suppress(Trouble, Refused):  # then it ends by itself when nobody uses it
                self.client.revoke(before["refresh_token"], seconds=5)

    def about(self) -> dict[str, Any] | None:
        """What is known about the session, without its token. None: there is none."""
        held = self.file.read()
        if held is None or not self._is_ours(held):
            return None
        return {name: value for name, value in held.items() if name != "refresh_token"}

    def access_token(self) -> str:
        """A fresh access token. NotConnected, Trouble, or Refused."""
        with self.file.locked():
            held = self._held()
            # A full disk should be noticed before the token is spent, not when its successor must be stored.
            self.file.write(held)
            return provider.patiently(lambda: self._refresh(held), self.patience)

    def end(self) -> bool:
        """Ends the session at the server, then removes the file. False: there was none. Trouble: it is still there."""
        with self.file.locked():
            held = self.file.read()
            if held is None:
                return False
            if not self._is_ours(held):
                raise Refused(f"{self.file.path} is of {held.get('issuer')}: set ISSUER to it, and try again")
            self.client.revoke(held["refresh_token"])
            self.file.remove()
            return True

    def forget(self, ended: float) -> None:
        """Removes the file of a session that the server has ended then; not that of one which came after it."""
        with self.file.locked():
            held = self.file.read()
            if held is not None and held.get("since", 0) <= ended:
                self.file.remove()

    def _is_ours(self, held: dict[str, Any]) -> bool:
        """A token is shown to nobody but the server that it is from."""
        return held.get("issuer") == provider.issuer() and held.get("client_id") == self.client.client_id

    def _held(self) -> dict[str, Any]:
        held = self.file.read()
        if held is None or not self._is_ours(held):
            raise NotConnected(f"Not connected to {provider.issuer()}: {self.login}.")
        return held

    def _refresh(self, held: dict[str, Any]) -> str:
        try:
            with _no_interrupts():
                answer = self.client.refresh(held["refresh_token"])
                rotated = answer["refresh_token"] != held["refresh_token"]
                self.file.write({**{name: value for name, value in held.items() if name != "ended"},
                                 "refresh_token": answer["refresh_token"], "uses": held.get("uses", 0) + 1,
                                 "used": int(time.time()), "rotated": rotated})
        except OAuthError as error:
            raise self._refusal(held, error) from None
        return str(answer["access_token"])

    def _refusal(self, held: dict[str, Any], error: OAuthError) -> Exception:
        if error.error not in ("invalid_grant", "invalid_scope"):
            return Refused(f"The identity server refuses: {provider.printable(error.description or error.error)}")
        # RFC 6749 section 5.2; invalid_scope: the user still allows something, but less than was granted.
        self.file.write({"ended": int(time.time()), **held})
        return NotConnected(f"The connection has ended, or was revoked: {self.login}.")


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C waits, seconds at most, while a token is on its way to the disk. Only the main thread gets it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
