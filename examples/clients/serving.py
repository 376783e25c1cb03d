# SPDX-License-Identifier: MIT
"""Serves a Flask application on this machine. A demonstration's server: in production use one that is made for it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server


class QuietHandler(WSGIRequestHandler):
    """A log without queries: that of a redirect has a code in it."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        path = urlsplit(getattr(self, "path", "")).path
        self.log("info", '"%s %s" %s', getattr(self, "command", None) or "-", ascii(path)[1:-1], code)

    def log_error(self, format: str, *args: Any) -> None:
        self.log("error", "a request that could not be read")


def serve(app: Flask, url: str) -> None:
    """At the port of `url`, for this machine only, until the process is ended."""
    port = urlsplit(url).port or 80
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=QuietHandler)
    print(f"listening on {url}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
