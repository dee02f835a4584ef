"""Reading prompts from files: ShareGPT's talks, JSON lines, datasets of Hugging Face on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pytest_msprof.errors import InvalidWorkload
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
    extra: Mapping[str, Any] = {}


def read_dataset(dataset: Dataset) -> list[tuple[Asked, ...]]:
    """Return the turns of each row that asks something.

    Raises `InvalidWorkload` for what is missing, cannot be read, or asks nothing.
    """
    rows = list(_rows(dataset))
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


def _rows(dataset: Dataset) -> Iterable[Any]:
    try:
        kind = _format_of(dataset)
        if kind == "hf":
            return _arrow_rows(dataset)
        text = dataset.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidWorkload(f"cannot read the dataset {dataset.path}: {error}") from None
    return _json_rows(text, dataset.path) if kind == "sharegpt" else _line_rows(text, dataset.path)


def _format_of(dataset: Dataset) -> str:
    if dataset.format != "auto":
        return dataset.format
    if dataset.path.is_dir() or dataset.path.suffix in (".arrow", ".parquet"):
        return "hf"
    return "sharegpt" if dataset.path.suffix == ".json" else "jsonl"


def _json_rows(text: str, path: Path) -> list[Any]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise InvalidWorkload(f"the dataset {path} is no JSON: {error}") from None
    if not isinstance(rows, list):
        raise InvalidWorkload(f"the dataset {path} should be a list of rows, but is {type(rows).__name__}")
    return rows


def _line_rows(text: str, path: Path) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.strip():
                yield json.loads(line)
        except ValueError as error:
            raise InvalidWorkload(f"{path}, line {number}: no JSON ({error}): {line[:80]!r}") from None


def _arrow_rows(dataset: Dataset) -> Iterator[Any]:
    """Read Arrow streams and Parquet files, one split of a folder."""
    try:
        import pyarrow as pa
        from pyarrow import ipc, parquet
    except ImportError:
        raise InvalidWorkload(f"reading {dataset.path} needs pyarrow: pip install pytest-msprof[datasets]") from None
    for path in _arrow_files(dataset):
        try:
            if path.suffix == ".parquet":
                table = parquet.read_table(path)
            else:
                with pa.memory_map(str(path)) as source:
                    table = ipc.open_stream(source).read_all()
        except pa.ArrowInvalid as error:
            raise InvalidWorkload(f"cannot read {path} of the dataset: {error}") from None
        wanted = [name for name in table.column_names if name in (*COLUMNS, *ANSWERS, dataset.column, "output_tokens")]
        yield from (table.select(wanted) if wanted else table).to_pylist()


def _arrow_files(dataset: Dataset) -> Sequence[Path]:
    """Return the files of the one split that is meant."""
    if dataset.path.is_file():
        return [dataset.path]
    found = sorted(path for path in dataset.path.rglob("*") if path.suffix in (".arrow", ".parquet"))
    splits = {path: _split_of(path, dataset.path) for path in found if not path.name.startswith("cache-")}
    names = sorted(set(splits.values()))
    if not names:
        raise InvalidWorkload(f"{dataset.path} holds no Arrow or Parquet file")
    if dataset.split not in names and (dataset.split or len(names) > 1):
        wanted = f"no split {dataset.split!r}" if dataset.split else "several splits, name one"
        raise InvalidWorkload(f"{dataset.path} has {wanted} (found: {', '.join(names)})")
    return [path for path, name in splits.items() if name == (dataset.split or names[0])]


def _split_of(path: Path, root: Path) -> str:
    """Return the split a file belongs to: its folder, or the first word of its name as the hub has it."""
    if path.suffix == ".arrow" and path.parent != root:
        return path.parent.name
    return path.name.split("-")[0] if path.suffix == ".parquet" else ""


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
    own: dict[str, Any] = {"model": str(row.get("model") or ""), "extra": row.get("extra_body") or {}}
    return own | ({"output_tokens": int(row["output_tokens"])} if row.get("output_tokens") else {})


def _words(content: Any) -> str:
    """Return the text of a message, whose content may come in parts."""
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(content or "")
