"""Asking a service one question over HTTP: is it up, which models, which version, which dialect."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.redaction import redact

__all__ = ["Answer", "ask", "authorization"]


class Answer(NamedTuple):
    """Status and text of one answer."""

    status: int
    text: str

    @property
    def ok(self) -> bool:
        """Say whether the status is 200."""
        return self.status == http.client.OK

    @property
    def body(self) -> Any:
        """The text read as JSON, or as it is where it is none."""
        try:
            return json.loads(self.text)
        except ValueError:
            return self.text


def ask(
    url: str,
    body: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
) -> Answer:
    """Send a GET, or a POST of *body* as JSON, on a connection of its own and without proxies.

    *url* may be that of a socket: `unix:///run/engine.sock/v1/models`. Raises `OSError` where nobody
    answers, and `ConfigurationError` for what is no such URL.
    """
    connection, path = _connection(url, timeout)
    allowed = authorization(url, key)
    sent = {**({"Authorization": allowed} if allowed else {}), **(headers or {})}
    try:
        if body is None:
            connection.request("GET", path, headers=sent)
        else:
            connection.request("POST", path, json.dumps(body).encode(), {**sent, "Content-Type": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{redact(url)}: {error!r}") from error
    finally:
        connection.close()


class _SocketConnection(http.client.HTTPConnection):
    """A connection to a socket in the file system."""

    def __init__(self, path: Path, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str]:
    """Return the connection to what *url* names, not opened yet, and the path of the request."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        whole = Path(unquote(parts.path))
        place = next((place for place in (whole, *whole.parents) if place.is_socket()), whole)
        return _SocketConnection(place, timeout=timeout), f"/{whole.relative_to(place)}".removesuffix(".")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"a service needs an http:// or https:// URL, or unix:// and a path, but got {redact(url)!r}"
        )
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return kind(parts.hostname, parts.port, timeout=timeout), path


def authorization(url: str, key: str | None = None) -> str:
    """Return the value of the `Authorization` header: the key, else what stands before the host, else nothing."""
    if key:
        return f"Bearer {key.strip()}"
    parts = urlsplit(url)
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
