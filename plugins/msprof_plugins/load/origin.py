"""Where requests go: host, port, TLS and the head that every request carries."""

from __future__ import annotations

import ssl
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.http_client import authorization

__all__ = ["Origin"]

PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """A server, and the credentials for it."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str
    """Path before `/v1`, mostly empty."""
    authorization: str

    @classmethod
    def of(cls, url: str, api_key: str | None = None) -> Self:
        """Read a base URL such as `http://127.0.0.1:8000`, with or without `/v1` at its end.

        Raises `ConfigurationError` when it is no such URL; the message never shows credentials.
        """
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            where = parts.hostname or "no host"
            raise ConfigurationError(
                f"a load needs an http:// or https:// URL, but got {parts.scheme!r} with {where!r}"
            )
        return cls(
            host=parts.hostname,
            port=parts.port or PORTS[parts.scheme],
            tls=ssl.create_default_context() if parts.scheme == "https" else None,
            prefix=parts.path.rstrip("/").removesuffix("/v1"),
            authorization=authorization(url, api_key),
        )

    def request(self, path: str, body: bytes) -> bytes:
        """Return the bytes of a POST of the JSON *body*."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"POST {self.prefix}{path} HTTP/1.1",
            f"Host: {host}:{self.port}",
            "User-Agent: pytest-msprof",
            "Accept: text/event-stream",
            "Accept-Encoding: identity",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        if self.authorization:
            lines.append(f"Authorization: {self.authorization}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def __repr__(self) -> str:
        return f"Origin({self.host}:{self.port})"
