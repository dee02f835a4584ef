"""The rows of a dataset: a JSON list, JSON lines, or what Hugging Face's libraries keep on disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pytest_msprof.errors import InvalidWorkload
from pytest_msprof.workload_parts import Dataset

__all__ = ["rows_of"]


def rows_of(dataset: Dataset, *, columns: Collection[str]) -> Iterable[Any]:
    """Return the rows of a dataset; of tables the *columns* and the one that the dataset names, if it has any of them.

    Raises `InvalidWorkload` for what is missing or cannot be read.
    """
    try:
        kind = _format_of(dataset)
        if kind == "hf":
            return _arrow_rows(dataset, columns)
        if kind == "jsonl":
            return _line_rows(dataset.path)
        text = dataset.path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidWorkload(f"cannot read the dataset {dataset.path}: {error}") from None
    return _json_rows(text, dataset.path)


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


def _line_rows(path: Path) -> Iterator[Any]:
    """Read line by line; lines end where those of JSON lines do, for U+2028 may stand inside a string."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _line_row(line, number, path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidWorkload(f"cannot read the dataset {path}: {error}") from None


def _line_row(line: str, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise InvalidWorkload(f"{path}, line {number}: no JSON ({error}): {line.rstrip()[:80]!r}") from None


def _arrow_rows(dataset: Dataset, columns: Collection[str]) -> Iterator[Any]:
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
        wanted = [name for name in table.column_names if name in columns or name == dataset.column]
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
