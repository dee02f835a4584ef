"""Scores of a running service in tasks of lm-eval, for the hook `pytest_msprof_quality`.

Written against lm_eval 0.4.13, which has to be installed beside pytest-msprof with its extra `api`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_msprof.errors import ConfigurationError, LoadError

if TYPE_CHECKING:
    from pytest_msprof.service import Service

__all__ = ["lm_eval_scores"]

ENDPOINTS = {False: ("local-completions", "/v1/completions"), True: ("local-chat-completions", "/v1/chat/completions")}
DYING = 0.5
"""Seconds that a dying engine gets to be found dead."""
AT_ONCE = 4
"""Requests in flight, unless `num_concurrent` says otherwise."""


def lm_eval_scores(
    service: Service,
    names: Sequence[str],
    *,
    include: str | Path | None = None,
    metrics: Mapping[str, str] | None = None,
    chat: bool = False,
    limit: int | None = None,
    **model_args: Any,
) -> dict[str, float]:
    """Return what *service* scores in those of the tasks *names* that lm-eval knows, 0 to 1; 1 is best.

    *include* is a folder of tasks of one's own, which is then all that is known. The metric of a task is its first
    one of which more is better, or what *metrics* names, as `exact_match` or with its filter as
    `exact_match,strict-match`. *chat* asks `/v1/chat/completions`, *limit* that many questions of each task, and
    *model_args* go to lm-eval's model, such as a `tokenizer`.

    Raises `ConfigurationError` where lm_eval is not installed, or a task has no such metric, `ServiceExited` where
    the engine dies of it, and `LoadError` where the questions are not answered.
    """
    lm_eval, manager = _imported(include)
    tasks = [name for name in names if name in manager.all_tasks]
    if not tasks:
        return {}
    model, endpoint = ENDPOINTS[chat]
    try:
        found = lm_eval.simple_evaluate(
            model=model,
            model_args={**_model_args(service, endpoint), **model_args},
            tasks=tasks,
            task_manager=manager,
            limit=limit,
            apply_chat_template=chat,
            bootstrap_iters=0,
            log_samples=False,
        )
    except Exception as error:  # whatever its client raises for a server that does not answer
        service.check(patience=DYING)
        failed = LoadError(f"lm-eval could not finish {', '.join(tasks)}: {type(error).__name__}: {error}")
        failed.log_tail = service.log_tail()
        raise failed from error
    chosen = metrics or {}
    return {name: _score(name, found, chosen.get(name)) for name in tasks}


def _imported(include: str | Path | None) -> tuple[Any, Any]:
    try:
        import aiohttp  # noqa: F401 - what its clients need beside it
        import lm_eval
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise ConfigurationError(
            f"a task of lm-eval needs the package lm_eval with its clients ({error}): pip install 'lm_eval[api]'"
        ) from error
    if include is None:
        return lm_eval, TaskManager()
    if not Path(include).is_dir():
        raise ConfigurationError(f"tasks of lm-eval were to lie in {include}, but there is no such folder")
    return lm_eval, TaskManager(include_path=str(include), include_defaults=False)


def _model_args(service: Service, endpoint: str) -> dict[str, Any]:
    """Return where the questions go; as text, so that no tokenizer is needed."""
    key = service.target.api_key
    header = {**service.target.headers, **({"Authorization": f"Bearer {key}"} if key else {})}
    return {
        "model": service.model,
        "base_url": f"{service.base_url}{endpoint}",
        "tokenizer_backend": None,
        "tokenized_requests": False,
        "num_concurrent": AT_ONCE,
        **({"header": header} if header else {}),
    }


def _score(name: str, found: Mapping[str, Any], wanted: str | None) -> float:
    """Return the figure of task *name*: of the metric that was asked for, or of the first one where more is better."""
    better: Mapping[str, Any] = found["higher_is_better"].get(name, {})
    figures = {key: value for key, value in found["results"][name].items() if key.partition(",")[0] in better}
    for key, value in figures.items():
        metric = key.partition(",")[0]
        if wanted in (key, metric) or (wanted is None and better[metric]):
            return _share(name, key, value, more_is_better=bool(better[metric]))
    raise ConfigurationError(f"task {name!r} of lm-eval has no metric {wanted or 'of which more is better'}: {figures}")


def _share(name: str, key: str, value: Any, *, more_is_better: bool) -> float:
    if not more_is_better or not isinstance(value, int | float) or not (0 <= value <= 1 or math.isnan(value)):
        raise ConfigurationError(f"task {name!r} of lm-eval needs a metric from 0 to 1, 1 best, but {key} is {value!r}")
    return float(value)
