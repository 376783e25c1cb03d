# SPDX-License-Identifier: MIT
"""Calls of the files API with access tokens of an offline session."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

import provider
from provider import Refused
from tokenfile import OfflineSession


class FilesClient:
    """The files and notes of the user whose session it is."""

    def __init__(self, session: OfflineSession, patience: float = 30):
        self.session = session
        self.patience = patience  # seconds
        self.token = session.access_token()

    def files(self) -> list[dict[str, Any]]:
        return list(self._call("GET", "/files").json()["files"])

    def file(self, name: str) -> bytes:
        return self._call("GET", "/files/" + quote(name, safe="")).content

    def notes(self) -> list[dict[str, Any]]:
        return list(self._call("GET", "/notes").json()["notes"])

    def put_note(self, name: str, text: str) -> None:
        """Under a name that the caller has chosen: one whose answer is lost can be put again, and is there once."""
        self._call("PUT", "/notes/" + quote(name, safe=""), json={"text": text})

    def _call(self, method: str, path: str, **options: Any) -> requests.Response:
        response = self._ask(method, path, **options)
        if response.status_code == 401:  # it lives for minutes, and this may be a long run; or its session was revoked
            self.token = self.session.access_token()
            response = self._ask(method, path, **options)
        if response.status_code >= 400:
            raise Refused(f"The files API refuses {method} {path.split('/')[1]}: status {response.status_code}.")
        return response

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        def ask() -> requests.Response:
            response = requests.request(method, provider.files_api() + path, timeout=provider.TIMEOUT,
                                        headers={"Authorization": "Bearer " + self.token}, allow_redirects=False,
                                        **options)
            if response.status_code >= 500 or response.status_code == 429:
                response.raise_for_status()
            return response

        return provider.patiently(ask, self.patience)
