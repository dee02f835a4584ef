"""What a load generator of somebody else is asked to do: one load, with the requests of the built-in generator."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from msprof_plugins.interpreters import Interpreter
from msprof_plugins.load.bodies import Bodies
from msprof_plugins.load.dialects import find_dialect
from pytest_msprof.errors import ConfigurationError, InvalidWorkload
from pytest_msprof.ids import digest
from pytest_msprof.interfaces import LaunchContext, LoadJob
from pytest_msprof.requests import Plan, Request

__all__ = ["Order"]


class Order(NamedTuple):
    """What a tool is asked to do."""

    name: str
    """The tool, as it is registered."""
    job: LoadJob
    context: LaunchContext
    plan: Plan
    folder: Path
    """Fresh and empty: what lies there afterwards, the tool wrote."""
    interpreter: Interpreter

    @property
    def is_chat(self) -> bool:
        """Whether chats are asked for."""
        return self.job.workload.endpoint == "chat"

    @property
    def root_url(self) -> str:
        """The URL of the server, without the version of the interface."""
        return self.job.target.base_url.rstrip("/").removesuffix("/v1")

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer, for tools that count with it; raises `ConfigurationError` without one."""
        found = self.job.target.tokenizer
        if found is None:
            raise ConfigurationError(
                f"{self.name} counts with the tokenizer of the model: give its folder by --msprof-model"
            )
        return found

    @property
    def seed(self) -> int:
        """A seed that is new in each repeat and load step."""
        return int(digest([self.job.workload.seed, self.job.repeat, self.job.step])[:8], 16)

    def body(self, request: Request) -> dict[str, Any]:
        """Return the body that the built-in generator would send."""
        workload = self.job.workload
        dialect = find_dialect(workload.endpoint, streams=workload.stream)
        return Bodies(dialect, workload, self.job.target).body(request)

    @property
    def has_messages(self) -> bool:
        """Whether a dataset gave chats as messages, which are more than one text."""
        return any(request.messages is not None for request in self.plan.requests)

    def texts(self) -> Iterator[tuple[str, int]]:
        """Give what each request says and how many tokens it wants, for tools that take no whole bodies.

        Raises `InvalidWorkload` for chats that are more than one text.
        """
        for request in self.plan.requests:
            if request.messages is not None:
                raise InvalidWorkload(
                    f"load generator {self.name!r} sends single texts, but the dataset gives chat messages ("
                    f"'aiperf', 'builtin' and 'vllm_benchmark' can send them)"
                )
            yield request.prompt, request.output_tokens

    def talks(self) -> list[list[Request]]:
        """Return the requests talk by talk, in order."""
        return [list(talk) for _, talk in groupby(self.plan.requests, key=lambda request: request.session)]

    def shared_body(self, *without: str) -> dict[str, Any]:
        """Return the fields that the bodies of all requests share, for tools that take them once.

        Fields *without* are left out. Raises `InvalidWorkload` for one that differs between requests.
        """
        bodies = ({name: v for name, v in self.body(r).items() if name not in without} for r in self.plan.requests)
        shared = next(bodies)
        for body in bodies:
            if body != shared:
                differs = next(name for name in (*shared, *body) if shared.get(name) != body.get(name))
                raise InvalidWorkload(
                    f"load generator {self.name!r} sends one {differs!r} with all requests, but here it differs ("
                    f"'aiperf' and 'builtin' can send them)"
                )
        return shared
