"""A task of lm-eval scores a running service: lm-eval itself, where it is installed."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from msprof_plugins.lm_eval_tasks import lm_eval_scores
from pytest_msprof import Target
from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.testing import FakeEngine

MISSING = [name for name in ("lm_eval", "aiohttp") if find_spec(name) is None]
needs_lm_eval = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (pip install lm_eval[api])"
)
TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 4}}
metric_list:
  - metric: {metric}
    aggregation: mean
    higher_is_better: {better}
"""
QUESTIONS = [
    {"question": "Say something", "answer": " token token token token"},
    {"question": "And once more", "answer": " token token token token"},
    {"question": "Where is the Louvre?", "answer": " Paris"},
    {"question": "And the Prado?", "answer": " Madrid"},
]


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Two tasks, one of which counts what is wrong; nothing is fetched for them."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(map(json.dumps, QUESTIONS)))
    for name, metric, better in (("words", "exact_match", "true"), ("errors", "exact_match", "false")):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(name=name, file=file, metric=metric, better=better))
    return tmp_path


def running(engine, **facts):
    """Return what the hook gets, for an engine that stands ready."""
    target = Target(engine.base_url, "fake", **facts)
    return SimpleNamespace(
        base_url=engine.base_url, model="fake", target=target, check=lambda patience: None, log_tail=lambda: "its log"
    )


@needs_lm_eval
@pytest.mark.parametrize("chat", [False, True])
def test_a_task_of_lm_eval_scores_what_the_service_answers(tasks, chat):
    with FakeEngine() as engine:
        assert lm_eval_scores(running(engine), ("words", "unheard"), include=tasks, chat=chat) == {"words": 0.5}


@needs_lm_eval
def test_a_limit_asks_the_first_questions_only(tasks):
    with FakeEngine() as engine:
        assert lm_eval_scores(running(engine), ("words",), include=tasks, limit=2) == {"words": 1.0}


@needs_lm_eval
@pytest.mark.parametrize(
    ("name", "metrics", "message"),
    [
        ("errors", {}, "'errors' of lm-eval has no metric of which more is better"),
        ("errors", {"errors": "exact_match"}, "needs a metric from 0 to 1, 1 best, but exact_match,none is "),
        ("words", {"words": "bleu"}, "'words' of lm-eval has no metric bleu"),
    ],
)
def test_a_metric_that_is_no_share_of_right_answers_is_refused(tasks, name, metrics, message):
    with FakeEngine() as engine, pytest.raises(ConfigurationError, match=message):
        lm_eval_scores(running(engine), (name,), include=tasks, metrics=metrics, limit=1)


@needs_lm_eval
def test_a_service_that_does_not_answer_is_an_error_and_no_score(tasks):
    with FakeEngine(fail_every=1) as engine, pytest.raises(LoadError, match="lm-eval could not finish words") as raised:
        lm_eval_scores(running(engine), ("words",), include=tasks, limit=1, max_retries=1)

    assert raised.value.log_tail == "its log"


@needs_lm_eval
def test_a_folder_of_tasks_that_is_not_there_is_named(tmp_path):
    with FakeEngine() as engine, pytest.raises(ConfigurationError, match="there is no such folder"):
        lm_eval_scores(running(engine), ("words",), include=tmp_path / "nothing")


def test_without_lm_eval_the_error_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)

    with pytest.raises(ConfigurationError, match=r"needs the package lm_eval .*pip install 'lm_eval\[api\]'"):
        lm_eval_scores(SimpleNamespace(), ("words",))
