#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A resource server: files and notes, each user's own, for access tokens that the identity server says are good.

    GET /files         files.read   {"files": [{"name", "size"}, ...]}
    GET /files/NAME    files.read   the file
    GET /notes         notes.write  {"notes": [{"name", "text"}, ...]}, in the order in which they were added
    PUT /notes/NAME    notes.write  {"text": ...}; putting it again changes nothing but the text

It asks about every token at every request (RFC 7662), so that a session that was revoked is out at once. All is in
memory.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

from authlib.integrations.requests_client import OAuth2Session
from flask import Flask, Response, g, jsonify, request

import provider
from provider import Refused, Trouble, endpoint, issuer, setting
from serving import serve

AUDIENCE = "files-api"
SECRET = setting("FILES_API_SECRET", "files-api-demo-secret")
MOST_USERS, MOST_NOTES, LONGEST_NOTE = 1000, 200, 2000

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 64 * 1024


class Refusal(Exception):
    """An answer with WWW-Authenticate (RFC 6750 section 3)."""

    def __init__(self, status: int, error: str = "", description: str = "", scope: str = ""):
        super().__init__(error)
        self.status = status
        self.parameters = {"error": error, "error_description": description, "scope": scope}


@app.errorhandler(Refusal)
def refuse(refusal: Refusal) -> Response:
    parts = ['realm="files"'] + [f'{name}="{value}"' for name, value in refusal.parameters.items() if value]
    response = jsonify({name: value for name, value in refusal.parameters.items() if value})
    response.status_code = refusal.status
    response.headers["WWW-Authenticate"] = "Bearer " + ", ".join(parts)
    return response


@app.errorhandler(Trouble)
@app.errorhandler(Refused)
def unavailable(error: Exception) -> Response:
    """Who cannot ask does not know: that is 503, and never 401, at which clients throw tokens away."""
    app.logger.error("no introspection: %s", error)
    response = jsonify({"error": "temporarily_unavailable"})
    response.status_code = 503
    response.headers["Retry-After"] = "2"
    return response


@app.after_request
def private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def introspection(token: str) -> dict[str, Any]:
    def ask() -> dict[str, Any]:
        with OAuth2Session(AUDIENCE, SECRET) as session:
            response = session.introspect_token(endpoint("introspection_endpoint"), token=token,
                                                token_type_hint="access_token", timeout=provider.TIMEOUT,
                                                allow_redirects=False)
        response.raise_for_status()
        answer = response.json()
        if response.status_code != 200 or not isinstance(answer, dict) or not isinstance(answer.get("active"), bool):
            raise ValueError("no answer of an introspection endpoint")
        return answer

    return provider.patiently(ask, 3)


def bearer_token() -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(401)  # nothing was wrong with a token: there was none
    token = token.strip(" ")
    # b64token of RFC 6750 section 2.1, so that nothing else goes on to the identity server.
    if not token or len(token) > 8192 or not all(c.isascii() and (c.isalnum() or c in "-._~+/=") for c in token):
        raise Refusal(400, "invalid_request", "The Authorization header cannot be read")
    return token


def needs(scope: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A route for access tokens that are active, for us, and have this scope; g.user is whose they are."""
    def decorate(route: Callable[..., Any]) -> Callable[..., Any]:
        def checked(**arguments: str) -> Any:
            token = introspection(bearer_token())
            audience = token.get("aud", [])
            ours = AUDIENCE in ([audience] if isinstance(audience, str) else audience)
            # One that is bound to a key (cnf) is not good without a proof, and proofs are not verified here.
            if not token["active"] or not ours or token.get("iss", issuer()) != issuer() or "cnf" in token \
                    or not isinstance(token.get("sub"), str):
                raise Refusal(401, "invalid_token", "It is not, or no longer, good for this API")
            if scope not in str(token.get("scope", "")).split():
                raise Refusal(403, "insufficient_scope", "It does not allow this", scope)
            g.user = token["sub"]
            return route(**arguments)

        checked.__name__ = route.__name__
        return checked

    return decorate


class Shelf:
    """What one user has."""

    def __init__(self, user: str):
        self.notes: dict[str, str] = {}
        self.files = {"welcome.txt": f"These are the files of {user}.\n".encode()}
        for name, sky, ground in (("beach", "#8ecae6", "#f4d58d"), ("forest", "#cdeac0", "#386641"),
                                  ("night", "#14213d", "#3d405b")):
            self.files[f"{name}.svg"] = (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><rect width="4" height="3" fill="{sky}"/>'
                f'<rect y="2" width="4" height="1" fill="{ground}"/></svg>\n').encode()


shelves: dict[str, Shelf] = {}
lock = threading.Lock()


def shelf() -> Shelf:
    """With the lock held."""
    if g.user not in shelves and len(shelves) >= MOST_USERS:
        del shelves[next(iter(shelves))]
    return shelves.setdefault(g.user, Shelf(g.user))


def problem(status: int, error: str) -> tuple[Response, int]:
    return jsonify({"error": error}), status


@app.get("/")
def home() -> Any:
    return Response("The files API: it is for programs with an access token.\n", mimetype="text/plain")


@app.get("/files")
@needs("files.read")
def list_files() -> Any:
    with lock:
        return jsonify({"files": [{"name": name, "size": len(data)} for name, data in shelf().files.items()]})


@app.get("/files/<name>")
@needs("files.read")
def read_file(name: str) -> Any:
    with lock:
        data = shelf().files.get(name)
    return problem(404, "not_found") if data is None else Response(data, mimetype="application/octet-stream")


@app.get("/notes")
@needs("notes.write")
def list_notes() -> Any:
    with lock:
        return jsonify({"notes": [{"name": name, "text": text} for name, text in shelf().notes.items()]})


@app.put("/notes/<name>")
@needs("notes.write")
def put_note(name: str) -> Any:
    note = request.get_json(silent=True)
    text = note.get("text") if isinstance(note, dict) else None
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_NOTE or len(name) > 64:
        return problem(400, "invalid_note")
    with lock:
        notes = shelf().notes
        if name not in notes and len(notes) >= MOST_NOTES:
            return problem(409, "too_many_notes")
        notes[name] = text
    return Response(status=204)


if __name__ == "__main__":
    serve(app, provider.files_api())
