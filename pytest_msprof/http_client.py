"""Asking a service one question over HTTP: is it up, which models, which version, which dialect."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
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


def ask(url: str, body: Mapping[str, Any] | None = None, *, key: str | None = None, timeout: float = 10.0) -> Answer:
    """Send a GET, or a POST of *body* as JSON, on a connection of its own and without proxies.

    Raises `OSError` where nobody answers, and `ConfigurationError` for what is not an HTTP URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"a service needs an http:// or https:// URL, but got {redact(url)!r}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    allowed = authorization(url, key)
    headers = {"Authorization": allowed} if allowed else {}
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except http.client.HTTPException as error:
        raise ConnectionError(f"{redact(url)}: {error!r}") from error
    finally:
        connection.close()


def authorization(url: str, key: str | None = None) -> str:
    """Return the value of the `Authorization` header: the key, else what stands before the host, else nothing."""
    if key:
        return f"Bearer {key.strip()}"
    parts = urlsplit(url)
    if parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
