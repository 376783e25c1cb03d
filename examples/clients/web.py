#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Photo Album, a web application: users log in, and may let it import their photos at night.

    web.py           serves it, at http://localhost:8081/
    web.py nightly   for cron: imports for everybody who has allowed it, whether they are logged in or not

What it shows: offline access is asked for when it is needed, and not at the login (incremental); the offline token is
kept on the server, one file for each user, and never comes near a browser; a logout leaves it, unless the identity
server says that it goes too.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import OAuth
from flask import Flask, Response, abort, flash, jsonify, redirect, render_template, request, session

import provider
from filesclient import FilesClient
from logouttoken import BadLogoutToken, JoseError, Logout, LogoutTokens
from provider import Client, NotConnected, Refused, Trouble, endpoint, issuer, setting, state_folder
from serving import serve
from tokenfile import OfflineSession

URL = setting("WEB_URL", "http://localhost:8081").rstrip("/")
CLIENT = Client("photo-album", setting("PHOTO_ALBUM_SECRET", "photo-album-demo-secret"))
TO_LOG_IN = "openid profile email"
TO_IMPORT = "openid profile email offline_access files.read"
NOT_THIS_USER = "You may not let an application act while you are away: ask your administrator."
SECONDS_LOGGED_IN = 12 * 3600
MOST_LOGINS = 1000

app = Flask(__name__)
app.config.update(SECRET_KEY=secrets.token_bytes(32), SESSION_COOKIE_NAME="photo-album", SESSION_COOKIE_SAMESITE="Lax",
                  SESSION_COOKIE_SECURE=URL.startswith("https:"), MAX_CONTENT_LENGTH=64 * 1024)
oauth = OAuth(app)
identity = oauth.register("identity", client_id=CLIENT.client_id, client_secret=CLIENT.secret,
                          server_metadata_url=issuer().rstrip("/") + "/.well-known/openid-configuration",
                          client_kwargs={"code_challenge_method": "S256", "default_timeout": provider.TIMEOUT})
logout_tokens = LogoutTokens(CLIENT.client_id)


@dataclass
class Login:
    """Somebody at a browser; the cookie has no more of it than its key in `logins`."""

    sub: str
    sid: str | None
    name: str
    id_token: str
    end: float


logins: dict[str, Login] = {}
logins_lock = threading.Lock()


def current_login() -> Login | None:
    login = logins.get(session.get("login", ""))
    return login if login and login.end > time.monotonic() else None


def start_login(login: Login) -> None:
    key = secrets.token_urlsafe(32)
    with logins_lock:
        logins.pop(session.get("login", ""), None)
        for old in [name for name, other in logins.items() if other.end <= time.monotonic()]:
            del logins[old]
        if len(logins) >= MOST_LOGINS:
            del logins[next(iter(logins))]
        logins[key] = login
    session["login"], session["user"] = key, login.sub


def end_logins(sub: str | None, sid: str | None) -> None:
    """Of one login at the identity server; without a sid, all of the user's."""
    with logins_lock:
        for key, login in list(logins.items()):
            if (login.sid == sid) if sid else (login.sub == sub):
                del logins[key]


def offline_session(sub: str) -> OfflineSession:
    """Where the offline token of a user is, or would be."""
    name = hashlib.sha256(f"{issuer()}\n{sub}".encode()).hexdigest()  # a sub may have any characters
    return OfflineSession(CLIENT, state_folder() / "photo-album" / f"{name}.json", patience=10, login="allow it again")


def import_photos(offline: OfflineSession) -> str:
    """What the night's job does for one user. Says what happened, in plain words."""
    api = FilesClient(offline, patience=10)
    photos = [file for file in api.files() if str(file["name"]).endswith(".svg")]
    size = sum(len(api.file(str(file["name"]))) for file in photos)
    about = offline.about() or {}
    token = "a new offline token instead of the old one" if about.get("rotated") else "left the offline token as it was"
    return (f"Imported {len(photos)} photos, {size} bytes. This was use number {about.get('uses')} of the permission: "
            f"the identity server gave an access token for a few minutes, and {token}.")


@app.before_request
def check_request() -> None:
    if request.host != urlsplit(URL).netloc:
        abort(421)  # another name for this machine, such as a page elsewhere may have made up
    if request.method == "POST" and request.path != "/backchannel-logout":
        if not secrets.compare_digest(request.form.get("csrf", "").encode(), session.get("csrf", "-").encode()):
            abort(403)


@app.after_request
def protect(response: Response) -> Response:
    at_issuer = urlsplit(issuer())
    response.headers["Content-Security-Policy"] = (  # browsers look at redirects after a form, too
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {at_issuer.scheme}://{at_issuer.netloc}")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response


@app.get("/")
def home() -> str:
    session.setdefault("csrf", secrets.token_urlsafe(32))
    login = current_login()
    user = login.sub if login else session.get("user")
    try:
        about = offline_session(user).about() if user else None
    except Refused as error:  # the file is damaged: to allow it again replaces it
        app.logger.error("%s", error)
        about = None
    return render_template("album.html", login=login, about=about, csrf=session["csrf"], issuer=issuer())


@app.template_filter("time")
def in_words(seconds: int) -> str:
    return time.strftime("%-d %B %Y, %H:%M:%S", time.localtime(seconds))


@app.get("/login")
def log_in() -> Any:
    return to_identity_server(scope=TO_LOG_IN)


@app.post("/import")
def allow_import() -> Any:
    # Without prompt=consent there is no offline access (OpenID Connect Core 1.0 section 11).
    login = current_login()
    hint = {"login_hint": login.sub} if login else {}
    return to_identity_server(scope=TO_IMPORT, prompt="consent", **hint)


def to_identity_server(**parameters: str) -> Any:
    try:
        return identity.authorize_redirect(URL + "/callback", **parameters)
    except requests.RequestException:
        return home_with("The identity server cannot be reached. Try again in a moment.")


@app.get("/callback")
def callback() -> Any:
    # A code of another server must not be shown to this one (RFC 9207).
    if request.args.get("iss", issuer()) != issuer():
        abort(400)
    if request.args.get("error") == "access_denied":
        return home_with("You have not allowed it. Nothing has changed.")
    if request.args.get("error") == "invalid_scope":
        return home_with(NOT_THIS_USER)
    try:
        tokens = identity.authorize_access_token()
        user = tokens["userinfo"]  # of the ID token, verified
    except (AuthlibBaseError, JoseError, requests.RequestException, ValueError, KeyError) as error:
        app.logger.warning("login failed: %s", type(error).__name__)
        return home_with("That did not work. Please try again.")
    name = str(user.get("name", user["sub"]))
    end = time.monotonic() + SECONDS_LOGGED_IN
    start_login(Login(user["sub"], user.get("sid"), name, tokens["id_token"], end))
    granted = str(tokens.get("scope", "")).split()
    if "offline_access" in granted and "refresh_token" in tokens:
        offline_session(user["sub"]).keep(tokens, name=name)
        return home_with("Thank you. Your photos are imported at night from now on.")
    if "files.read" in granted:
        return home_with(NOT_THIS_USER)
    return redirect("/", code=303)


def home_with(notice: str) -> Any:
    flash(notice)
    return redirect("/", code=303)


@app.post("/away")
def act_while_away() -> Any:
    """What cron does at night, at the press of a button; also after the logout, for whom this browser remembers."""
    login = current_login()
    user = login.sub if login else session.get("user")
    if not user:
        return home_with("Log in first.")
    try:
        return home_with(import_photos(offline_session(user)))
    except (NotConnected, Refused) as error:
        return home_with(str(error))
    except Trouble as error:
        return home_with(f"Try again later, nothing is lost: {error}.")


@app.post("/stop")
def stop_import() -> Any:
    login = current_login()
    if not login:
        return home_with("Log in first.")
    try:
        offline_session(login.sub).end()
    except (Refused, Trouble) as error:
        return home_with(f"That could not be ended, try again: {error}.")
    return home_with("The permission has ended, here and at the identity server.")


@app.post("/logout")
def log_out() -> Any:
    """Here, then at the identity server (OpenID Connect RP-Initiated Logout 1.0)."""
    login = current_login()
    logins.pop(session.pop("login", ""), None)
    if not login:
        return redirect("/", code=303)
    parameters = {"id_token_hint": login.id_token, "client_id": CLIENT.client_id, "post_logout_redirect_uri": URL + "/"}
    try:
        url = requests.Request("GET", endpoint("end_session_endpoint"), params=parameters).prepare().url
    except (Refused, Trouble):
        return home_with("You are logged out here. The identity server cannot be reached.")
    return redirect(str(url), code=303)


@app.post("/backchannel-logout")
def backchannel_logout() -> Any:
    """The identity server says that somebody has logged out (OpenID Connect Back-Channel Logout 1.0 section 2.5)."""
    try:
        logout_tokens.follow(request.form.get("logout_token", ""), follow_logout)
    except BadLogoutToken as error:
        app.logger.warning("logout token refused: %s", error)
        return jsonify({"error": "invalid_request", "error_description": str(error)}), 400
    except (Refused, Trouble, OSError) as error:
        app.logger.error("logout not done: %s", error)
        return jsonify({"error": "temporarily_unavailable"}), 503
    return Response(status=200)


def follow_logout(logout: Logout) -> None:
    end_logins(logout.sub, logout.sid)
    if logout.revoke_offline_access and logout.sub:
        offline_session(logout.sub).forget(logout.time)  # the token is worth nothing now


def nightly() -> int:
    """Everybody's photos. One user's trouble does not keep the others from theirs."""
    status = 0
    for path in sorted((state_folder() / "photo-album").glob("*.json")):
        offline = OfflineSession(CLIENT, path, login="the user has to allow it again")
        try:
            about = offline.about()
            if about is not None:
                print(f"{provider.printable(about.get('name'))}: {import_photos(offline)}")
        except (NotConnected, Refused, Trouble) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            status = os.EX_TEMPFAIL if isinstance(error, Trouble) else status or 1
    return status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=("serve", "nightly"), default="serve")
    if parser.parse_args().command == "nightly":
        return nightly()
    serve(app, URL)
    return 0


if __name__ == "__main__":
    provider.finish(main)
