"""Asking a service one question over HTTP: which models, which version, which dialect."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pytest_msprof.errors import ConfigurationError
from pytest_msprof.redaction import redact

__all__ = ["Answer", "ask"]


class Answer(NamedTuple):
    """Status and body of one answer; a body that is not JSON is a string."""

    status: int
    body: Any

    @property
    def ok(self) -> bool:
        """Say whether the status is 200."""
        return self.status == http.client.OK


def ask(url: str, body: Mapping[str, Any] | None = None, *, key: str | None = None, timeout: float = 10.0) -> Answer:
    """Send a GET, or a POST of *body* as JSON, without proxies.

    Raises `OSError` where nobody answers, and `ConfigurationError` for what is not an HTTP URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"a service needs an http:// or https:// URL, but got {redact(url)!r}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        if body is None:
            connection.request("GET", parts.path or "/", headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", parts.path or "/", json.dumps(body).encode(), headers)
        response = connection.getresponse()
        return Answer(response.status, _decoded(response.read()))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{parts.hostname}: {error!r}") from error
    finally:
        connection.close()


def _decoded(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
