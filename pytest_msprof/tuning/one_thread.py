"""Linear algebra on one thread: matrices of a few dozen rows are done before a second thread has begun."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import RLock
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

__all__ = ["on_one_thread"]

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_TURN = RLock()
"""The limit is one of the whole process: of two that overlap, the second would restore what the first had set."""


def on_one_thread(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Let numpy and scipy calculate on one thread while *function* runs, and on as many as before when it ended."""

    @wraps(function)
    def limited(*given: Given.args, **named: Given.kwargs) -> Answer:
        with _TURN, _libraries().limit(limits=1):
            return function(*given, **named)

    return limited


@cache
def _libraries() -> ThreadpoolController:
    """Return the libraries for linear algebra that numpy and scipy brought, without those for anything else."""
    import scipy.optimize  # noqa: F401 - its library is loaded with it
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
