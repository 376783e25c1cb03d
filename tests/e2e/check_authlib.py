# SPDX-License-Identifier: MIT
"""Authlib as a client: code flow, refresh, revocation, introspection, the device grant; joserfc verifies the tokens
(P1, P2)."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).with_name("support")))

import requests  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from joserfc import jwt  # noqa: E402
from joserfc.jwk import KeySet  # noqa: E402

import stack  # noqa: E402

LOOPBACK = "http://127.0.0.1:51235/callback"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
VERIFIER = "a verifier of at least forty-three characters".replace(" ", "-")


class Authlib(stack.StackCase):
    """A stack is shared by all of them."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.metadata = requests.get(cls.stack.issuer + "/.well-known/openid-configuration", timeout=10).json()

    def session(self, client_id, secret=None, **options):
        method = "client_secret_basic" if secret else "none"
        session = OAuth2Session(client_id, secret, token_endpoint_auth_method=method,
                                revocation_endpoint_auth_method=method, code_challenge_method="S256", **options)
        self.addCleanup(session.close)
        return session

    def backup(self, **options):
        return self.session("nightly-backup", "nightly-backup-demo-secret", **options)

    def log_in(self, session, user="alice"):
        url, state = session.create_authorization_url(self.metadata["authorization_endpoint"], code_verifier=VERIFIER,
                                                      prompt="consent", nonce="n-0S6_WzA2Mj")
        answer = self.stack.browse(url, user=user, robot=user, stop=LOOPBACK)
        return session.fetch_token(self.metadata["token_endpoint"], authorization_response=answer["left"], state=state,
                                   code_verifier=VERIFIER)

    def refresh(self, session, token, **parameters):
        return session.refresh_token(self.metadata["token_endpoint"], refresh_token=token, **parameters)

    def test_code_flow_and_refresh_with_rotation(self):
        """T1, T2: the token of a public client rotates, and after a lost response gives the same successor again."""
        session = self.session("pocket-notes", scope="openid offline_access", redirect_uri=LOOPBACK)
        token = self.log_in(session)["refresh_token"]

        def rotated():
            answer = self.refresh(session, token)
            return answer["refresh_token"] != token and answer

        successor = stack.poll(rotated)["refresh_token"]
        self.assertEqual(self.refresh(session, token)["refresh_token"], successor)
        self.assertIn("access_token", self.refresh(session, successor))

    def test_tokens_are_verified_from_the_jwks(self):
        """I5, R4"""
        session = self.backup(scope="openid offline_access files.read", redirect_uri=LOOPBACK)
        first = self.log_in(session, "bob")
        second = self.refresh(session, first["refresh_token"])
        keys = KeySet.import_key_set(requests.get(self.metadata["jwks_uri"], timeout=10).json())
        before, after = (jwt.decode(tokens["id_token"], keys).claims for tokens in (first, second))
        self.assertEqual(before["nonce"], "n-0S6_WzA2Mj")
        self.assertNotIn("nonce", after)
        for claim in ("iss", "sub", "aud", "sid", "auth_time"):
            self.assertEqual(before[claim], after[claim], claim)
        access = jwt.decode(second["access_token"], keys)
        self.assertEqual(access.header["typ"], "at+jwt")
        self.assertEqual(access.claims["sub"], "bob")
        self.assertIn("files-api", access.claims["aud"])

    def test_scope_may_be_narrowed_and_not_widened(self):
        """R3"""
        session = self.backup(scope="openid offline_access files.read", redirect_uri=LOOPBACK)
        token = self.log_in(session)["refresh_token"]
        self.assertEqual(self.refresh(session, token, scope="files.read")["scope"], "files.read")
        with self.assertRaises(OAuthError) as refused:
            self.refresh(session, token, scope="openid profile")
        self.assertEqual(refused.exception.error, "invalid_scope")
        self.assertIn("access_token", self.refresh(session, token, scope=""))

    def test_revocation_and_introspection(self):
        """V1, V6, P1"""
        session = self.backup(scope="openid offline_access files.read", redirect_uri=LOOPBACK)
        tokens = self.log_in(session)

        def active(token):
            return session.introspect_token(self.metadata["introspection_endpoint"], token=token).json()["active"]

        self.assertTrue(active(tokens["refresh_token"]))
        self.assertTrue(active(tokens["access_token"]))
        answer = session.revoke_token(self.metadata["revocation_endpoint"], token=tokens["refresh_token"])
        self.assertEqual((answer.status_code, answer.json()), (200, {}))
        self.assertFalse(active(tokens["refresh_token"]))
        self.assertFalse(active(tokens["access_token"]))
        with self.assertRaises(OAuthError) as refused:
            self.refresh(session, tokens["refresh_token"])
        self.assertEqual(refused.exception.error, "invalid_grant")

    def test_device_grant(self):
        """I2, RFC 8628"""
        session = self.session("notes-cli")
        device = requests.post(self.metadata["device_authorization_endpoint"], timeout=10,
                               data={"client_id": "notes-cli", "scope": "openid offline_access notes.write"}).json()
        token_endpoint = self.metadata["token_endpoint"]
        with self.assertRaises(OAuthError) as refused:
            session.fetch_token(token_endpoint, grant_type=DEVICE_CODE, device_code=device["device_code"])
        self.assertEqual(refused.exception.error, "authorization_pending")
        page = self.stack.browse(device["verification_uri_complete"], user="bob", robot="bob")
        self.assertEqual(page["status"], 200)

        def tokens():
            try:
                return session.fetch_token(token_endpoint, grant_type=DEVICE_CODE, device_code=device["device_code"])
            except OAuthError as error:
                self.assertIn(error.error, ("slow_down", "authorization_pending"))

        token = stack.poll(tokens)["refresh_token"]
        self.assertIn("access_token", self.refresh(session, token))

    def test_password_and_client_credentials(self):
        """I2"""
        session = self.backup(scope="openid offline_access")
        tokens = session.fetch_token(self.metadata["token_endpoint"], username="alice", password="alice-demo")
        self.assertIn("access_token", self.refresh(session, tokens["refresh_token"]))
        session = self.backup(scope="files.read")
        tokens = session.fetch_token(self.metadata["token_endpoint"], grant_type="client_credentials")
        self.assertNotIn("refresh_token", tokens)


if __name__ == "__main__":
    stack.main()
