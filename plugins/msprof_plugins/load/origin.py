"""Where requests go: host and port or socket, TLS and the head that every request carries."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.http_client import authorization

__all__ = ["Origin"]

PORTS = {"http": 80, "https": 443, "unix": 0}


class Origin(NamedTuple):
    """A server, and the credentials for it."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str
    """Path before `/v1`, mostly empty."""
    authorization: str
    unix: str = ""
    """Path of the socket, empty where the server has a port."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers of every request."""

    @classmethod
    def of(cls, url: str, api_key: str | None = None, headers: Mapping[str, str] | None = None) -> Self:
        """Read a base URL such as `http://127.0.0.1:8000` or `unix:///run/engine.sock`, `/v1` at its end or not.

        Raises `ConfigurationError` when it is no such URL, or a header is none; the message never
        shows credentials.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not (parts.path if parts.scheme == "unix" else parts.hostname):
            where = parts.hostname or "no host"
            raise ConfigurationError(
                f"a load needs an http:// or https:// URL, or unix:// and a path, but got {parts.scheme!r} "
                f"with {where!r}"
            )
        path = parts.path.rstrip("/").removesuffix("/v1")
        is_unix = parts.scheme == "unix"
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or PORTS[parts.scheme],
            tls=ssl.create_default_context() if parts.scheme == "https" else None,
            prefix="" if is_unix else path,
            authorization=authorization(url, api_key),
            unix=unquote(path) if is_unix else "",
            headers=tuple(_checked(name, value) for name, value in (headers or {}).items()),
        )

    @property
    def place(self) -> str:
        """What a message calls the server."""
        return self.unix or f"{self.host}:{self.port}"

    def request(self, path: str, body: bytes) -> bytes:
        """Return the bytes of a POST of the JSON *body*."""
        return self.head(path) % len(body) + body

    def head(self, path: str) -> bytes:
        """Return the head of a POST to *path*, with `%d` for the length of the body."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"POST {self.prefix}{path} HTTP/1.1",
            f"Host: {host}:{self.port}" if self.port else f"Host: {host}",
            "User-Agent: pytest-msprof",
            "Accept: text/event-stream",
            "Accept-Encoding: identity",
            "Content-Type: application/json",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        fixed = "\r\n".join(lines).replace("%", "%%")
        return f"{fixed}\r\nContent-Length: %d\r\n\r\n".encode("latin-1")

    def __repr__(self) -> str:
        return f"Origin({self.place})"


def _checked(name: str, value: str) -> tuple[str, str]:
    """Return a header that cannot become two; raises `ConfigurationError`, without the value."""
    if not name or any(character in name for character in " :\r\n") or "\r" in value or "\n" in value:
        raise ConfigurationError(f"a header needs a name without spaces and a value of one line, but got {name!r}")
    return name, value
