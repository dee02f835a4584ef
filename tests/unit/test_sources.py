"""Reading what others measured: every format as it was written, every trap said, every damage named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_plugins import pytest_msprof_read_result as read_result
from pytest_msprof.errors import ConfigurationError, MsprofError, StoreError
from pytest_msprof.golden import GoldenStore
from pytest_msprof.metrics import measure
from pytest_msprof.results import Measurement, Run
from pytest_msprof.samples import Sample, Samples
from pytest_msprof.side_comparison import compare_sources
from pytest_msprof.side_identity import obstacles_between
from pytest_msprof.sources import Name, of_measurement, read_side
from pytest_msprof.sources.quantities import quantity
from pytest_msprof.sources.spool import spooled
from pytest_msprof.sources.spread import spread
from pytest_msprof.store import RunStore
from pytest_msprof.workload import Workload

DATA = Path(__file__).parents[1] / "data"
EARLIER = datetime(2026, 11, 20, tzinfo=UTC)
ANALYSED, RAW = DATA / "compare" / "analysed", DATA / "compare" / "raw"


def nobody(path: Path) -> None:
    return None


@pytest.fixture
def analysed(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ANALYSED / "golden", tmp_path / "golden"))


def test_an_analysed_folder_is_read_with_every_metric_in_si_units():
    (source,) = read_side(ANALYSED / "golden", nobody)
    values = source.figures.values
    assert values[Name("request", "ttft", "p90")] == pytest.approx(0.0219108)
    assert values[Name("service", "output_throughput", "value")] == 402.753
    assert values[Name("request", "waiting_time", "min")] == pytest.approx(-0.00002)
    assert values[Name("batch", "decode_batch_num", "mean")] == 6.0476
    assert source.identity == {
        "input tokens": "3240",
        "output tokens": "632",
        "input lengths": "136 to 492, median 206",
        "requests": "14",
    }
    assert sum(source.histogram.values()) == 148
    assert source.figures.counts["request", "ttft"] == 14


def test_every_known_fault_of_an_analysed_folder_is_said():
    notes = "\n".join(read_side(ANALYSED / "golden", nobody)[0].notes)
    assert "first-token latencies and queue waits 1000 times too small" in notes
    assert "is in microseconds" in notes
    assert "prefill_exec_time (ms) is missing in batch_summary.csv" in notes


def test_execution_times_that_the_summary_lacks_are_those_of_the_events():
    (source,) = read_side(ANALYSED / "golden", nobody)
    with closing(sqlite3.connect(ANALYSED / "golden" / "profiler.db")) as connection:
        rows = connection.execute("SELECT during_time FROM batch WHERE name = 'modelExec' AND batch_type = 'Decode'")
        times = np.array(rows.fetchall()) / 1e3
    assert source.figures.values[Name("batch", "decode_exec_time", "p90")] == pytest.approx(np.percentile(times, 90))


def test_execution_times_of_the_summary_count_before_those_of_the_events(analysed: Path):
    with (analysed / "batch_summary.csv").open("a") as file:
        file.write("decode_exec_time (ms),5,6,4,5,6,6\n")
    (source,) = read_side(analysed, nobody)
    assert source.figures.values[Name("batch", "decode_exec_time", "mean")] == pytest.approx(0.005)


def test_a_metric_that_nobody_knows_is_read_like_any_other(analysed: Path):
    with (analysed / "request_summary.csv").open("a") as file:
        file.write("swap_time (us),5,6,4,5,6,6\n=1+1,5,6,4,5,6,6\n")
    values = read_side(analysed, nobody)[0].figures.values
    assert values[Name("request", "swap_time", "max")] == pytest.approx(6e-6)
    assert values[Name("request", "=1+1", "p99")] == 6


def test_rows_draw_the_distributions_of_the_summary_in_its_unit():
    (source,) = read_side(ANALYSED / "golden", nobody)
    with closing(sqlite3.connect(ANALYSED / "golden" / "profiler.db")) as connection:
        seconds = sorted(value for (value,) in connection.execute("SELECT first_token_latency FROM request"))
    assert source.figures.shapes["request", "ttft"] == pytest.approx(seconds)
    assert len(source.figures.shapes["batch", "decode_exec_time"]) == 101


def test_rows_of_something_else_than_the_summary_are_not_drawn(analysed: Path):
    path = analysed / "request_summary.csv"
    path.write_text(path.read_text().replace("18.8392", "28.8392"))
    shapes = read_side(analysed, nobody)[0].figures.shapes
    assert ("request", "ttft") not in shapes
    assert ("request", "latency") in shapes


@pytest.mark.parametrize("place", ["database", "tables"])
def test_forward_passes_and_the_cache_are_read_from_the_database_or_from_tables(analysed: Path, place: str):
    if place == "database":
        with closing(sqlite3.connect(analysed / "profiler.db")) as connection, connection:
            connection.execute("CREATE TABLE forward (during_time REAL, bubble_time REAL)")
            connection.executemany("INSERT INTO forward VALUES (?, ?)", [(10.0, 0.6), (12.0, None)])
            connection.execute("DELETE FROM kvcache")
            connection.execute("INSERT INTO kvcache (kvcache_usage_rate) VALUES (0.25)")
    else:
        (analysed / "profiler.db").unlink()
        (analysed / "forward.csv").write_text("name,during_time(ms),bubble_time(ms)\nforward,10,0.6\nforward,12,\n")
        (analysed / "kvcache.csv").write_text("name,kvcache_usage_rate\nallocate,0.25\n")
    values = read_side(analysed, nobody)[0].figures.values
    assert values[Name("spans", "forward", "mean")] == pytest.approx(0.011)
    assert values[Name("batch", "forward_bubble_time", "max")] == pytest.approx(0.0006)
    assert values[Name("batch", "kvcache_usage_rate", "p90")] == 0.25


@pytest.mark.parametrize("header", ["span_name,start_datetime,during_time(ms),pid", "name,x,during_time(ms),pid"])
def test_spans_that_analyze_was_asked_for_are_read_by_their_name(analysed: Path, header: str):
    (analysed / "span_info").mkdir()
    rows = "".join(f"BatchSchedule,2025,{value},1\n" for value in (1.0, 3.0))
    (analysed / "span_info" / "BatchSchedule.csv").write_text(f"{header}\n{rows}")
    (source,) = read_side(analysed, nobody)
    assert source.figures.values[Name("spans", "schedule", "mean")] == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("table", "column"),
    [("request", "first_token_latency"), ("batch", "during_time"), ("kvcache", "kvcache_usage_rate")],
)
def test_text_in_a_column_of_figures_of_a_database_is_named_by_its_row(analysed: Path, table: str, column: str):
    with closing(sqlite3.connect(analysed / "profiler.db")) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = 'fast' WHERE rowid = 2")
    with pytest.raises(StoreError, match=rf"profiler\.db, table {table}, row 2, column '{column}': .* got 'fast'"):
        read_side(analysed, nobody)


def test_without_a_database_the_tables_of_rows_are_read(analysed: Path):
    (analysed / "profiler.db").unlink()
    (source,) = read_side(analysed, nobody)
    assert source.identity["requests"] == "14"
    assert sum(source.histogram.values()) == 20


@pytest.mark.parametrize("layout", ["Mstx", "slice"])
def test_raw_spans_are_read_by_name_in_both_layouts(tmp_path: Path, layout: str):
    folder = tmp_path / 'a # ? % "quoted" 数据' / "Trace_Service"
    folder.mkdir(parents=True)
    shutil.copy(RAW / "golden" / "Trace_Service" / "ms_service_4321.db", folder)
    if layout == "slice":
        with closing(sqlite3.connect(folder / "ms_service_4321.db")) as connection:
            connection.execute(
                "CREATE TABLE slice AS SELECT json_extract(message, '$.name') AS name, timestamp, "
                "endTimestamp - timestamp AS duration FROM Mstx"
            )
            connection.execute("DROP TABLE Mstx")
            connection.commit()
    (source,) = read_side(folder.parent, nobody)
    assert {name.key for name in source.figures.values} == {"schedule", "execute", "forward", "sample"}
    assert source.figures.counts["spans", "forward"] == 148
    assert source.figures.values[Name("spans", "forward", "mean")] == pytest.approx(0.01, rel=0.01)


def test_reading_leaves_the_inputs_as_they_were(tmp_path: Path):
    folder = tmp_path / "golden"
    shutil.copytree(ANALYSED / "golden", folder)
    with closing(sqlite3.connect(folder / "profiler.db")) as connection:
        connection.execute("PRAGMA journal_mode = wal")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    read_side(folder, nobody)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_killed_writer_left_in_its_log_is_read(tmp_path: Path):
    folder = tmp_path / "golden"
    shutil.copytree(ANALYSED / "golden", folder)
    with closing(sqlite3.connect(folder / "profiler.db")) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("DELETE FROM request WHERE http_rid = '1'")
        connection.commit()
        shutil.copytree(folder, tmp_path / "left")
    (source,) = read_side(tmp_path / "left", nobody)
    assert source.identity["requests"] == "13"


def test_a_locked_database_is_an_error_that_names_it(analysed: Path):
    with closing(sqlite3.connect(analysed / "profiler.db")) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"profiler\.db cannot be read: database is locked"):
            read_side(analysed, nobody)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("service_summary.csv", b"", r"service_summary\.csv is empty"),
        ("service_summary.csv", b"Metric,Value\n", r"has a heading and no rows"),
        ("service_summary.csv", b"Metric,Other\nx,1\n", r"lacks the column Value \(it has: Metric, Other\)"),
        ("service_summary.csv", b"Metric,Value,Value\nx,1,1\n", r"has the column Value more than once"),
        ("service_summary.csv", b"Metric,Value\nx,nan\n", r"row 2, column 'Value': a finite figure .* got 'nan'"),
        ("service_summary.csv", b"Metric,Value\nx,1\ny,fast\n", r"row 3, column 'Value': .* got 'fast'"),
        ("service_summary.csv", b"Metric,Value\nx,1\nx,2\n", r"row 3, column 'Metric': 'x' stands there a second time"),
        ("service_summary.csv", b"Metric,Value\nx\n", r"row 2 ends before column 'Value'"),
        ("service_summary.csv", "Metric,Value\n延迟,1\n".encode("utf-16"), r"is no UTF-8 text"),
        ("service_summary.csv", b'Metric,Value\n"x,1\n', r"service_summary\.csv, row 2"),
        ("profiler.db", b"", r"profiler\.db is empty"),
        ("profiler.db", b"not a database at all", r"profiler\.db is no SQLite database"),
        ("profiler.db", None, r"profiler\.db cannot be read"),
    ],
)
def test_damage_is_one_line_that_names_file_row_and_column(
    analysed: Path, name: str, content: bytes | None, message: str
):
    path = analysed / name
    path.write_bytes(path.read_bytes()[:20000] if content is None else content)
    with pytest.raises(StoreError, match=message) as raised:
        read_side(analysed, nobody)
    assert "\n" not in str(raised.value)


def test_raw_spans_are_drawn_and_their_host_is_told():
    (source,) = read_side(RAW / "golden", nobody)
    shape = source.figures.shapes["spans", "forward"]
    assert (shape[0], shape[-1], len(shape)) == (
        source.figures.values[Name("spans", "forward", "min")],
        source.figures.values[Name("spans", "forward", "max")],
        101,
    )
    assert source.environment == {"host": "node0"}
    assert source.identity["input lengths"] == "136 to 492, median 206"


@given(values=st.lists(st.floats(0, 1e6), min_size=1, max_size=400), budget=st.integers(1, 500))
def test_values_that_do_not_fit_into_memory_give_the_same_statistics(values: list[float], budget: int):
    with spooled(budget) as spool:
        for place, value in enumerate(values):
            spool.add("even" if place % 2 else "odd", value)
        spool.extend("all", np.array(values))
        found = {name: spread(part) for name, part in spool.take()}
    assert found["all"].statistics["p90"] == pytest.approx(np.percentile(values, 90))
    assert found["odd"].statistics["mean"] == pytest.approx(np.mean(values[::2]))
    assert found["all"].size == len(values)


def test_a_run_of_ours_is_drawn_from_its_requests_and_a_golden_from_those_of_its_runs(tmp_path: Path):
    samples = Samples.of(
        [Sample(0, 0, ttft=0.01 * n, latency=0.1, input_tokens=8, output_tokens=4) for n in range(1, 12)]
    )
    run = Run.of(
        measure(samples, 2.0), id="a", launch_id="l", workload=Workload(), workload_hash="h", started_at=EARLIER
    )
    store = RunStore(tmp_path / "runs")
    partial = store.open(run.id)
    partial.complete(samples)
    store.seal(partial, run)
    GoldenStore(tmp_path / "golden").accept("key", [run])
    (golden,) = (tmp_path / "golden").iterdir()
    for path in (tmp_path / "runs" / "a", golden):
        (source,) = read_side(path, nobody)
        assert source.figures.shapes["request", "ttft"] == pytest.approx([0.01 * n for n in range(1, 12)])
        assert source.identity["input tokens"] == "88"


def test_a_message_that_is_no_json_is_named_by_its_row(tmp_path: Path):
    shutil.copytree(RAW / "golden", tmp_path / "raw")
    with closing(sqlite3.connect(tmp_path / "raw" / "Trace_Service" / "ms_service_4321.db")) as connection:
        connection.execute("UPDATE Mstx SET message = '{' WHERE rowid = 7")
        connection.commit()
    with pytest.raises(StoreError, match=r"table Mstx, row 7, column 'message': JSON with a name was wanted"):
        read_side(tmp_path / "raw", nobody)


@pytest.mark.parametrize(
    ("path", "kind", "requests"),
    [
        ("vllm/completions_ok.json", "vllm bench", "32"),
        ("vllm-rs/completions_ok.json", "vllm bench", "32"),
        ("guidellm/completions_ok", "guidellm", "20"),
        ("guidellm/completions_ok/benchmarks.json", "guidellm", "20"),
        ("aiperf/completions_ok", "aiperf", "32"),
        ("ais_bench/completions_ok", "ais_bench", "32"),
        ("sglang/completions_ok.jsonl", "sglang", "32"),
        ("evalscope/completions_http500", "evalscope", "32"),
        ("genai-perf/completions_ok", "genai-perf", None),
        ("inference-perf/completions_http500", "inference-perf", "32"),
    ],
)
def test_results_of_other_load_generators_are_recognised(path: str, kind: str, requests: str | None):
    (source,) = read_side(DATA / "loadgen" / path, lambda found: read_result(path=found))
    assert source.kind.startswith(kind)
    assert requests is None or source.identity["requests"] == requests
    assert source.figures.values[Name("request", "ttft", "p50")] == pytest.approx(0.05, rel=0.2)


def test_what_one_tool_does_not_say_of_its_load_is_no_difference():
    sides = [
        read_side(DATA / "loadgen" / name, lambda found: read_result(path=found))
        for name in ("aiperf/completions_ok", "ais_bench/completions_ok")
    ]
    assert "model" in sides[0][0].identity
    assert "model" not in sides[1][0].identity
    assert compare_sources(*sides).reasons == ()


def test_an_open_loop_is_another_load_than_a_closed_one():
    measured = Measurement(duration=1.0, completed=4, failed=0)
    closed, opened = (
        of_measurement(measured, Path("a"), tool="x", load={"concurrency": 4, "request_rate": rate})
        for rate in (None, 10.0)
    )
    assert obstacles_between([closed], [opened]) == ("request rate: unlimited in input, 10.0 in golden",)


def test_a_plain_file_of_pytest_benchmark_is_read_by_its_rounds(tmp_path: Path):
    stats = {"mean": 0.2, "max": 0.3, "min": 0.1, "median": 0.2, "rounds": 5}
    path = tmp_path / "0001.json"
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": [{"fullname": "a.b::c", "stats": stats}]}))
    (source,) = read_side(path, nobody)
    assert source.figures.values[Name("benchmarks", "a.b::c", "p50")] == 0.2
    path.write_text(json.dumps({"machine_info": {}, "benchmarks": [{"fullname": "x", "stats": {"mean": "NaN"}}]}))
    with pytest.raises(StoreError, match=r"0001\.json, benchmark 0 is damaged"):
        read_side(path, nobody)


def test_a_folder_of_folders_is_one_launch_each():
    assert len(read_side(ANALYSED, nobody)) == 2


@pytest.mark.parametrize("name", ["nothing", "missing"])
def test_what_holds_nothing_is_an_error_that_says_what_is_possible(tmp_path: Path, name: str):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(MsprofError, match=name) as raised:
        read_side(tmp_path / name, nobody)
    if name == "nothing":
        assert isinstance(raised.value, ConfigurationError)
        assert "an analysed or a raw folder" in str(raised.value)


@given(label=st.text(min_size=1), value=st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_unit_in_a_label_changes_the_scale_and_nothing_else(label: str, value: float):
    plain, milliseconds = quantity("request", label), quantity("request", f"{label.strip() or 'x'} (ms)")
    assert milliseconds.per_unit == 1000
    assert milliseconds.unit == "s"
    assert plain.label == label


@given(content=st.binary(max_size=300))
def test_no_bytes_whatever_crash_a_reader(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("service_summary.csv", "batch_summary.csv"):
        (folder / name).write_bytes(b"Metric,Value\n" + content)
    (folder / "profiler.db").write_bytes(b"SQLite format 3\x00" + content)
    with pytest.raises(StoreError, match=str(folder)):
        read_side(folder, nobody)


FOREIGN = {
    "vllm/completions_ok.json": "r.json",
    "sglang/completions_ok.jsonl": "r.jsonl",
    "guidellm/completions_ok/benchmarks.json": "benchmarks.json",
    "inference-perf/completions_http500/summary_lifecycle_metrics.json": "summary_lifecycle_metrics.json",
    "genai-perf/completions_ok/profile_export.json": "profile_export.json",
}


@pytest.mark.parametrize(("source", "name"), FOREIGN.items())
@given(data=st.data())
def test_a_result_with_any_value_replaced_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, source: str, name: str, data: st.DataObject
):
    told = json.loads(
        (DATA / "loadgen" / source).read_text().splitlines()[0]
        if name.endswith("l")
        else (DATA / "loadgen" / source).read_text()
    )
    key = data.draw(st.sampled_from(sorted(told)))
    told[key] = data.draw(st.sampled_from([None, "text", -1, [], {}, [None], {"a": 1}, 1e308]))
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_text(json.dumps(told))
    found, refused = [], ""
    try:
        found = read_side(path, lambda path: read_result(path=path))
    except MsprofError as error:
        refused = str(error)
    assert found or refused
    assert "\n" not in refused


@given(content=st.binary(max_size=200), layout=st.sampled_from(["Mstx", "slice"]))
def test_any_value_in_a_span_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, layout: str
):
    folder = tmp_path_factory.mktemp("fuzz") / "Trace_Service"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "ms_service_1.db")) as connection, connection:
        if layout == "Mstx":
            connection.execute("CREATE TABLE Mstx (message, timestamp, endTimestamp)")
            connection.execute("INSERT INTO Mstx VALUES (?, 1, 5)", (content,))
        else:
            connection.execute("CREATE TABLE slice (name, duration)")
            connection.execute("INSERT INTO slice VALUES ('x', ?)", (content,))
    with pytest.raises(StoreError) as raised:
        read_side(folder.parent, nobody)
    assert "\n" not in str(raised.value)


def test_a_deeply_nested_file_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(StoreError, match=r"deep\.json"):
        read_side(path, nobody)
