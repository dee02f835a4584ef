"""A service that asks for credentials gets those of its URL, or its key, with every request."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from msprof_plugins.external import ExternalSimulator
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.http_client import ask, authorization
from pytest_msprof.interfaces import LaunchContext
from pytest_msprof.process import EngineProcess
from pytest_msprof.service import answers, launch

ALLOWED = ("Basic dXNlcjpwQHNz", "Bearer key")
"""`user:p@ss`, and an API key."""


class Protected(BaseHTTPRequestHandler):
    """Serves one model to whoever is allowed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        listed = {"data": [{"id": "tiny"}]} if self.path == "/v1/models" else self.path
        self._send(json.dumps(listed).encode())

    def do_POST(self) -> None:
        self._send(self.rfile.read(int(self.headers["Content-Length"])))

    def _send(self, body: bytes) -> None:
        is_allowed = self.headers.get("Authorization") in ALLOWED
        body = body if is_allowed else b"who are you?"
        self.send_response(200 if is_allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Protected) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()


def test_the_credentials_of_the_url_are_sent(address: str) -> None:
    assert not answers(f"http://{address}/health")
    assert not answers(f"http://user:wrong@{address}/health")
    assert answers(f"http://user:p%40ss@{address}/health")


def test_a_key_is_sent_and_counts_more_than_the_url(address: str) -> None:
    assert ask(f"http://user:wrong@{address}/health", key="key").ok


def test_a_body_is_posted_and_an_answer_is_read_as_json_where_it_is_json(address: str) -> None:
    url = f"http://user:p%40ss@{address}/path?query=1"

    assert ask(url).body == "/path?query=1"
    assert ask(url, {"a": [1]}).body == {"a": [1]}
    assert ask(f"http://{address}") == (401, "who are you?")
    assert ask(f"http://{address}").body == "who are you?"


def test_a_protected_service_becomes_ready(address: str, tmp_path: Path) -> None:
    context = LaunchContext(EngineProcess.start, tmp_path, base_url=f"http://user:p%40ss@{address}")

    service = launch(ExternalSimulator(), engine="external", fields={}, declared={}, context=context)

    assert service.model == "tiny"


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://user:hunter22@host/x", "http://"])
def test_what_is_no_http_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="needs an http:// or https:// URL") as raised:
        ask(url)

    assert "hunter22" not in str(raised.value)


def test_no_credentials_are_no_header() -> None:
    assert authorization("http://host:1/x") == ""


class OnSocket(ThreadingHTTPServer):
    """The same server on a socket in the file system."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        return self.socket.accept()[0], ("", 0)


def test_a_socket_in_the_file_system_is_asked_by_its_path(tmp_path: Path) -> None:
    place = tmp_path / "an engine.sock"
    with OnSocket(str(place), Protected) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"unix://{str(place).replace(' ', '%20')}"
        assert ask(f"{url}/v1/models", key="key").body == {"data": [{"id": "tiny"}]}
        assert ask(url, key="key").body == "/"
        assert ask(f"{url}/echo", {"prompt": "x"}, headers={"Authorization": "Bearer key"}).body == {"prompt": "x"}
        server.shutdown()
        server.server_close()


def test_a_socket_that_is_not_there_is_nobody(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        ask(f"unix://{tmp_path}/missing.sock/v1/models")
