"""What the rows of a dataset ask: ShareGPT's talks, OpenAI's messages, plain prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.requests.dataset_files import rows_of
from pytest_msprof.requests.request import NOTHING
from pytest_msprof.workload_parts import Dataset

__all__ = ["Asked", "read_dataset"]

COLUMNS = ("messages", "conversations", "prompt", "question", "instruction", "text")
"""Columns that hold what is asked, the surest first."""
ANSWERS = ("answer", "response", "completion", "output")
USERS, ANSWERERS = ("human", "user"), ("gpt", "assistant", "chatgpt", "bing", "bard")


class Asked(NamedTuple):
    """One turn: what is asked, and how long the answer should be."""

    prompt: str
    messages: tuple[Mapping[str, Any], ...] | None = None
    """Chat messages with their content parts, where the row had them."""
    answer: str = ""
    """The answer on record, empty where there is none."""
    output_tokens: int | None = None
    model: str = ""
    extra: Mapping[str, Any] = NOTHING


def read_dataset(dataset: Dataset) -> list[tuple[Asked, ...]]:
    """Return the turns of each row that asks something.

    Raises `InvalidWorkload` for what is missing, cannot be read, or asks nothing.
    """
    rows = list(rows_of(dataset, columns=(*COLUMNS, *ANSWERS, "output_tokens")))
    found = [turns for row in rows if (turns := _turns(row, dataset))]
    if found:
        return found
    if not rows:
        raise InvalidWorkload(f"the dataset {dataset.path} is empty")
    columns = ", ".join(map(str, rows[0])) if isinstance(rows[0], Mapping) else repr(rows[0])[:80]
    raise InvalidWorkload(
        f"no row of the dataset {dataset.path} asks anything: wanted one of {dataset.column or ', '.join(COLUMNS)}, "
        f"but found {columns}"
    )


def _turns(row: Any, dataset: Dataset) -> tuple[Asked, ...]:
    """Return what one row asks, empty where that is nothing."""
    if isinstance(row, str):
        return (Asked(row),) if row else ()
    if not isinstance(row, Mapping):
        return ()
    column = next((name for name in ((dataset.column,) if dataset.column else COLUMNS) if row.get(name)), "")
    said = row.get(column)
    if isinstance(said, str):
        answer = next((row[name] for name in ANSWERS if isinstance(row.get(name), str)), "")
        return (Asked(said, None, answer)._replace(**_own(row)),)
    if not isinstance(said, Sequence) or not all(isinstance(part, Mapping) for part in said):
        return ()
    if column == "messages":
        return _messages(said, row)
    return _talk(said)


def _messages(said: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> tuple[Asked, ...]:
    """Return one request of OpenAI messages; a last word of the assistant is the answer on record."""
    kept, answer = list(said), ""
    if kept[-1].get("role") == "assistant":
        answer = _words(kept.pop().get("content"))
    if not kept:
        return ()
    prompt = "\n".join(_words(message.get("content")) for message in kept)
    return (Asked(prompt, tuple(kept), answer)._replace(**_own(row)),)


def _talk(said: Sequence[Mapping[str, Any]]) -> tuple[Asked, ...]:
    """Return the turns of a talk in ShareGPT's words: each of the user's that was answered."""
    spoken = [(part.get("from") or part.get("role"), _words(part.get("value") or part.get("content"))) for part in said]
    return tuple(
        Asked(words, None, answer)
        for (speaker, words), (answerer, answer) in pairwise(spoken)
        if speaker in USERS and answerer in ANSWERERS and words
    )


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row says about its own request."""
    own: dict[str, Any] = {"model": str(row.get("model") or ""), "extra": row.get("extra_body") or NOTHING}
    return own | ({"output_tokens": int(row["output_tokens"])} if row.get("output_tokens") else {})


def _words(content: Any) -> str:
    """Return the text of a message, whose content may come in parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(content or "")
