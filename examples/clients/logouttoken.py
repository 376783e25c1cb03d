# SPDX-License-Identifier: MIT
"""Verifies logout tokens (OpenID Connect Back-Channel Logout 1.0 sections 2.4 to 2.6): with them the identity server
tells a web application that a user has logged out somewhere else.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import Any, Callable, NamedTuple

import requests

import provider
from provider import Trouble

try:
    from joserfc import jws  # comes with the Authlib of today
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key
except ImportError:
    from authlib.jose import JsonWebKey, JsonWebSignature
    from authlib.jose.errors import JoseError

    jws = None

EVENT = "http://schemas.openid.net/event/backchannel-logout"
REVOKE_OFFLINE_ACCESS = "revoke_offline_access"  # an event beside it, as Keycloak has it
ALGORITHMS = ["ES256", "EdDSA", "RS256", "PS256"]  # never "none", and never one with a shared secret
SKEW = 120  # seconds by which clocks may differ
LONGEST_LIFE = 600  # seconds, of a token
SECONDS_BETWEEN_FETCHES = 30  # of keys, so that made-up key ids do not become as many requests
MOST_SEEN = 10000
STRINGS = (("jti", None), ("sub", ""), ("sid", ""))  # claims that are, and what stands for one that is not there


class BadLogoutToken(Exception):
    """It is not to be followed."""


class Logout(NamedTuple):
    """Whom a token logs out: this login, or where there is no sid, all of the user's."""

    sub: str | None
    sid: str | None
    revoke_offline_access: bool
    time: float  # when the server made it


class Keys:
    """The issuer's public keys, asked again when a token names one that is not there."""

    def __init__(self) -> None:
        self.by_id: dict[str, dict[str, Any]] = {}
        self.next_fetch = 0.0
        self.lock = threading.Lock()

    def find(self, key_id: str) -> dict[str, Any]:
        with self.lock:
            if key_id not in self.by_id and time.monotonic() >= self.next_fetch:
                self.next_fetch = time.monotonic() + SECONDS_BETWEEN_FETCHES
                self.by_id = provider.patiently(self._fetch, 3)
            if key_id not in self.by_id:
                raise BadLogoutToken("its key is not known")
            return self.by_id[key_id]

    @staticmethod
    def _fetch() -> dict[str, dict[str, Any]]:
        response = requests.get(provider.endpoint("jwks_uri"), timeout=provider.TIMEOUT)
        response.raise_for_status()
        return {key["kid"]: key for key in response.json()["keys"] if "kid" in key and key.get("use", "sig") == "sig"}


class LogoutTokens:
    """Those for one client, each good once."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.keys = Keys()
        self.seen: dict[str, float] = {}  # by jti, until when a replay would not be refused for its age
        self.lock = threading.Lock()

    def follow(self, token: str, act: Callable[[Logout], None]) -> None:
        """Does what a token says. BadLogoutToken; or Trouble, when the keys cannot be had. What fails in `act` may be
        tried again with the same token."""
        claims = self._signed_claims(token)
        now = time.time()
        self._check_claims(claims, now)
        offline = claims["events"].get(REVOKE_OFFLINE_ACCESS, False) is not False
        with self.lock:
            self._check_replay(claims["jti"], now)
            act(Logout(claims.get("sub"), claims.get("sid"), offline, claims["iat"]))
            self.seen[claims["jti"]] = now + LONGEST_LIFE + 2 * SKEW

    def _signed_claims(self, token: str) -> dict[str, Any]:
        if len(token) > 16384 or token.count(".") != 2:
            raise BadLogoutToken("it is no JWT")
        header = _json_object(_decode(token.partition(".")[0]))
        # Else an ID token, which is signed with the same keys, might do (RFC 8725 section 3.11).
        if str(header.get("typ")).lower() not in ("logout+jwt", "application/logout+jwt"):
            raise BadLogoutToken("it is no logout token")
        try:
            return _json_object(_verified_payload(token, self.keys.find(str(header.get("kid")))))
        except (JoseError, ValueError) as error:
            raise BadLogoutToken("its signature is wrong") from error

    def _check_claims(self, claims: dict[str, Any], now: float) -> None:
        audience, events = claims.get("aud"), claims.get("events")
        start, end = _time(claims.get("iat")), _time(claims.get("exp"))
        if claims.get("iss") != provider.issuer():
            raise BadLogoutToken("it is of another issuer")
        if self.client_id not in (audience if isinstance(audience, list) else [audience]):
            raise BadLogoutToken("it is for another client")
        if start > now + SKEW or end < now - SKEW or end > start + LONGEST_LIFE:
            raise BadLogoutToken("its time is not now")
        if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict) or "nonce" in claims:
            raise BadLogoutToken("it tells of no logout")
        if not all(isinstance(claims.get(name, default), str) for name, default in STRINGS):
            raise BadLogoutToken("its claims are not of their types")
        if not claims.get("sub") and not claims.get("sid"):
            raise BadLogoutToken("it names nobody")

    def _check_replay(self, jti: str, now: float) -> None:
        if len(self.seen) >= MOST_SEEN:
            self.seen = {name: end for name, end in self.seen.items() if end > now}
        if jti in self.seen:
            raise BadLogoutToken("it has been used")
        if len(self.seen) >= MOST_SEEN:
            raise Trouble("more logouts than can be remembered")


def _verified_payload(token: str, key: dict[str, Any]) -> bytes:
    if jws:
        return jws.deserialize_compact(token, import_key(key), algorithms=ALGORITHMS).payload
    return JsonWebSignature(ALGORITHMS).deserialize_compact(token, JsonWebKey.import_key(key))["payload"]


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise BadLogoutToken("it is no JWT") from None


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise BadLogoutToken("it is no JWT") from None
    if not isinstance(value, dict):
        raise BadLogoutToken("it is no JWT")
    return value


def _time(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise BadLogoutToken("it has no time")
    return float(value)
