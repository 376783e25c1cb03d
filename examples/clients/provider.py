# SPDX-License-Identifier: MIT
"""The identity server as its clients see it: what its metadata say, and how it is asked so that trouble stays harmless.

Nothing here knows of offline tokens: that is tokenfile.py.
"""

from __future__ import annotations

import functools
import os
import pathlib
import random
import sys
import time
from typing import Any, Callable, TypeVar
from urllib.parse import urlsplit

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

Answer = TypeVar("Answer")

TIMEOUT = (5, 10)  # seconds to connect, and to wait for the next byte


class Trouble(Exception):
    """Nobody can tell now: the network, or a server, is in trouble. Try again later; nothing is lost."""


class Refused(Exception):
    """The server has understood, and says no."""


class NotConnected(Exception):
    """There is no offline token, or it has ended: the user has to log in again."""


def setting(name: str, default: str) -> str:
    """A setting from the environment."""
    return os.environ.get(name) or default


def issuer() -> str:
    """The identity server that this client trusts."""
    return setting("ISSUER", "http://localhost:8080")


def files_api() -> str:
    """Where the files API is."""
    return setting("FILES_API", "http://localhost:8082").rstrip("/")


def state_folder() -> pathlib.Path:
    """Where these clients keep what outlives them; offline tokens above all."""
    home = setting("XDG_STATE_HOME", os.path.expanduser("~/.local/state"))
    return pathlib.Path(setting("CLIENTS_STATE", os.path.join(home, "offlinetok-clients")))


def patiently(call: Callable[[], Answer], seconds: float) -> Answer:
    """What `call` returns: after trouble it is made again, with the same arguments, for that many seconds at most.

    The first pauses are short: who has lost a response should ask again while the server still knows it for a retry.
    """
    end = time.monotonic() + seconds
    pause = 0.2
    while True:
        try:
            return call()
        except (requests.RequestException, ValueError) as error:  # ValueError: no JSON, or half of an answer
            wait = _seconds_to_wait(error, pause * random.uniform(0.75, 1.25))
            if wait is None or time.monotonic() + wait > end:
                raise Trouble(_in_words(error)) from None
        time.sleep(wait)
        pause = min(2 * pause, 4)


def _seconds_to_wait(error: Exception, pause: float) -> float | None:
    """None: to ask again would not help."""
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)):
        return None
    response = getattr(error, "response", None)
    if response is None:
        return pause
    if response.status_code < 500 and response.status_code not in (408, 429):
        return None
    after = response.headers.get("Retry-After", "")
    return max(pause, float(after)) if after.isascii() and after.isdigit() else pause


def _in_words(error: Exception) -> str:
    """Of an error, only what can hold no secret: never the request or the body of the answer."""
    response = getattr(error, "response", None)
    where = urlsplit(getattr(getattr(error, "request", None), "url", None) or "")
    server = f"{where.scheme}://{where.netloc}" if where.netloc else "the server"
    if response is not None:
        return f"{server} answers with status {response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"{server} does not answer in time"
    if isinstance(error, requests.ConnectionError):
        return f"{server} cannot be reached"
    return f"{server} gives an answer that cannot be read"


@functools.cache
def metadata(of: str) -> dict[str, Any]:
    """The metadata of an issuer (OpenID Connect Discovery 1.0 section 4), asked once."""
    if urlsplit(of).scheme != "https" and urlsplit(of).hostname not in ("localhost", "127.0.0.1", "::1"):
        raise Refused(f"{of} is neither https nor on this machine: tokens would be there for all to read")

    def ask() -> dict[str, Any]:
        response = requests.get(of.rstrip("/") + "/.well-known/openid-configuration", timeout=TIMEOUT)
        response.raise_for_status()
        return response.json()

    found = patiently(ask, 20)
    if not isinstance(found, dict) or found.get("issuer") != of:
        raise Refused(f"what answers at {of} says that it is another issuer")
    return found


def endpoint(name: str) -> str:
    """The URL of an endpoint of the issuer, by the name that it has in the metadata."""
    url = metadata(issuer()).get(name)
    if not url:
        raise Refused(f"{issuer()} has no {name}")
    return str(url)


class Client:
    """A client of the issuer, with or without a secret."""

    def __init__(self, client_id: str, secret: str | None = None):
        self.client_id = client_id
        self.secret = secret

    def session(self, **options: Any) -> OAuth2Session:
        """Authlib's client. It authenticates itself at every endpoint in the same way."""
        method = "client_secret_basic" if self.secret else "none"
        return OAuth2Session(self.client_id, self.secret, token_endpoint_auth_method=method,
                             revocation_endpoint_auth_method=method, code_challenge_method="S256", **options)

    def tokens(self, seconds: float = 20, **parameters: str) -> dict[str, Any]:
        """A token request, with patience. OAuthError is the server's refusal.

        It must be one that the server answers alike when it comes again, as it does for a code.
        """
        def ask() -> dict[str, Any]:
            with self.session() as session:
                return dict(session.fetch_token(endpoint("token_endpoint"), timeout=TIMEOUT, allow_redirects=False,
                                                **parameters))

        return patiently(functools.partial(_with_access_token, ask), seconds)

    def refresh(self, offline_token: str) -> dict[str, Any]:
        """One refresh, without patience. The answer always has a refresh_token: the new one, or the one that stays."""
        def ask() -> dict[str, Any]:
            with self.session() as session:
                return dict(session.refresh_token(endpoint("token_endpoint"), refresh_token=offline_token,
                                                  timeout=TIMEOUT, allow_redirects=False))

        return {"refresh_token": offline_token, **_with_access_token(ask)}

    def revoke(self, offline_token: str, seconds: float = 20) -> None:
        """Ends a session (RFC 7009). A token that is not known is a success, so asking twice is harmless."""
        def ask() -> None:
            with self.session() as session:
                response = session.revoke_token(endpoint("revocation_endpoint"), token=offline_token, timeout=TIMEOUT,
                                                token_type_hint="refresh_token", allow_redirects=False)
            if response.status_code != 200:
                response.raise_for_status()
                raise ValueError("neither done nor refused")

        patiently(ask, seconds)


def _with_access_token(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    answer = ask()
    if not isinstance(answer.get("access_token"), str) or str(answer.get("token_type")).lower() != "bearer":
        raise ValueError("no answer of a token endpoint")
    return answer


def finish(program: Callable[[], int]) -> None:
    """Runs a program. What goes wrong is one line on stderr, and a status that says what to do (sysexits.h)."""
    try:
        status = program()
    except NotConnected as error:
        print(error, file=sys.stderr)
        status = os.EX_NOPERM
    except Trouble as error:
        print(f"Try again later: {error}.", file=sys.stderr)
        status = os.EX_TEMPFAIL
    except OAuthError as error:
        print(f"Refused: {printable(error.description or error.error)}", file=sys.stderr)
        status = 1
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def printable(text: Any) -> str:
    """What came from elsewhere, fit for a terminal: nothing in it can move the cursor or change colours."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))[:500]
