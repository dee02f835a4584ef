"""The end of a session: golden runs, reports, and what the terminal says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_msprof.collection import is_worker
from pytest_msprof.errors import UnknownName
from pytest_msprof.sessions import options_of, session_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_msprof.comparison import Comparison
    from pytest_msprof.results import Run
    from pytest_msprof.summary import SessionSummary, StudySummary

__all__ = ["Reporter"]

DEFAULT_REPORTS = ("html", "xlsx")
NO_REPORT = "no"


class Reporter:
    """Gathers what the items found, in the process that talks to the user."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.runs: list[Run] = []
        """Runs recorded so far, by any worker."""
        self._comparisons: dict[tuple[str, tuple[str, ...]], Comparison] = {}
        """By case and first run: later repeats of a case replace the earlier ones' comparison."""
        self._studies: dict[str, StudySummary] = {}
        self._touched: set[str] = set()
        self._notes: list[str] = []
        self._candidates: dict[str, list[Run]] = {}
        self._refused: set[str] = set()
        self._golden: list[str] = []
        self._reports: list[Path] = []
        self._failed = False
        self._summary: SessionSummary | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what an item found; it may have been measured by a worker."""
        found: dict[str, Any] | None = getattr(report, "msprof", None)
        if found is None or is_worker(self._config):
            return
        session = session_of(self._config)
        runs = [session.store.load(run_id) for run_id in found.get("runs", ())]
        self.runs.extend(runs)
        outcome: str = report.outcome
        if found.get("golden") and outcome != "rerun":
            self._consider(runs, passed=report.passed)
        self._take_comparisons(found)
        self._take_study(found)
        if getattr(report, "node", None) is not None:
            self._publish(report, found, runs)
            if lines := found.get("progress"):
                session.say(lines)

    def _publish(self, report: pytest.TestReport, found: dict[str, Any], runs: list[Run]) -> None:
        """Publish what a worker measured: pytest-benchmark disables itself there."""
        from pytest_msprof.recording import add_entries

        if "study" not in found:
            for run in runs:
                add_entries(self._config, report.nodeid, [run])
        elif "summary" in found:
            for confirmation in self._studies[found["study"]].published:
                add_entries(self._config, report.nodeid, confirmation.runs, label=confirmation.role)

    def _consider(self, runs: list[Run], *, passed: bool) -> None:
        for run in runs:
            key = session_of(self._config).golden_key(run)
            self._candidates.setdefault(key, []).append(run)
            if not passed:
                self._refused.add(key)

    def _take_comparisons(self, found: dict[str, Any]) -> None:
        from pytest_msprof.comparison import Comparison

        for entry in found.get("comparisons", ()):
            comparison = Comparison.model_validate(entry)
            self._comparisons[comparison.case, comparison.current_run_ids[:1]] = comparison

    def _take_study(self, found: dict[str, Any]) -> None:
        from pytest_msprof.summary import StudySummary

        if note := found.get("note"):
            self._notes.append(note)
        if case := found.get("study"):
            self._touched.add(case)
        if summary := found.get("summary"):
            self._studies[found["study"]] = StudySummary.model_validate(summary)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Stop the engines; then accept golden runs and write the reports, where something was measured."""
        if not _measured(self._config):
            return
        self._try("give back what nobody told", session_of(self._config).close)
        if is_worker(self._config) or not (self.runs or self._touched):
            return
        self._try("show the studies that have no result", self._take_open_studies)
        self._try("accept the golden runs", self._accept_golden)
        self._summary = self._summarize()
        self._write_reports(self._summary)
        if options_of(self._config).keep is not None:
            self._try("prune", self._prune)
        if self._failed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _try(self, what: str, do: Callable[[], None]) -> None:
        """Let one failure at the end of a session stop nothing else, and the session fail."""
        try:
            do()
        except Exception as error:  # noqa: BLE001 - a plugin's report writer may raise anything
            self._failed = True
            self._notes.append(f"could not {what}: {type(error).__name__}: {error}")

    def _prune(self) -> None:
        from pytest_msprof.retention import prune

        options = options_of(self._config)
        prune(options.folder, options.keep or 0)

    def _take_open_studies(self) -> None:
        """Show studies that ended before their `[result]` as they stand."""
        if set(session_of(self._config).studies) - set(self._studies):
            from pytest_msprof.studies import reopened

            for summary in reopened(session_of(self._config)):
                self._studies.setdefault(summary.name, summary)

    def _accept_golden(self) -> None:
        session, options = session_of(self._config), options_of(self._config)
        for key, runs in self._candidates.items():
            moves = options.update_golden or not session.golden_store.exists(key)
            if not moves or key in self._refused:
                continue
            if limited := next((run.client_limited for run in runs if run.client_limited), ""):
                self._notes.append(f"no golden for {_short(runs[0].case)}: the client was the bottleneck: {limited}")
                continue
            repeats = len({run.repeat for run in runs if run.complete})
            if repeats < options.repeat:
                case = _short(runs[0].case)
                self._notes.append(f"no golden for {case}: {repeats} of {options.repeat} launches were measured")
                continue
            session.golden_store.accept(key, [run for run in runs if run.complete])
            self._golden.append(runs[0].case)

    def _summarize(self) -> SessionSummary:
        import time

        from pytest_msprof.hardware import hardware
        from pytest_msprof.summary import SessionSummary

        session = session_of(self._config)
        return SessionSummary(
            session_id=session.id,
            started_at=session.started_at,
            duration=time.monotonic() - session.started,
            rootdir=str(self._config.rootpath),
            engines=tuple(dict.fromkeys(run.engine for run in self.runs)) or options_of(self._config).engine,
            runs=tuple(self.runs),
            comparisons=tuple(self._comparisons.values()),
            studies=tuple(self._studies.values()),
            golden_recorded=tuple(self._golden),
            environment=hardware(),
        )

    def _write_reports(self, summary: SessionSummary) -> None:
        wanted = options_of(self._config).report
        folder = (
            options_of(self._config).folder
            / "reports"
            / f"{summary.started_at:%Y%m%d-%H%M%S}-{summary.session_id[-4:]}"
        )
        for name in wanted or DEFAULT_REPORTS:
            if name != NO_REPORT:
                self._try(f"write the report {name!r}", partial(self._write_report, name, summary, folder))

    def _write_report(self, name: str, summary: SessionSummary, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        hook: Any = self._config.hook
        try:
            written = hook.pytest_msprof_write_report(name=name, summary=summary, folder=folder)
        except ImportError as error:
            self._notes.append(f"no {name} report: {error.name} is missing; pip install 'pytest-msprof[reports]'")
            return
        paths = [path for path in written if path is not None]
        if not paths:
            raise UnknownName("report", name, DEFAULT_REPORTS)
        self._reports.extend(paths)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was found, in 80 columns, below every table."""
        if self._summary is None:
            return
        terminalreporter.section("serving performance")
        for line in self._lines(self._summary):
            terminalreporter.write_line(line)

    def _lines(self, summary: SessionSummary) -> Iterator[str]:
        from pytest_msprof.study_lines import study_lines, wrapped

        for study in summary.studies:
            yield from study_lines(study)
        for comparison in summary.comparisons:
            yield from _comparison_lines(comparison)
        if summary.golden_recorded:
            yield from wrapped(f"golden recorded: {', '.join(_short(case) for case in summary.golden_recorded)}")
        hook: Any = self._config.hook
        for lines in hook.pytest_msprof_terminal_lines(summary=summary):
            yield from lines
        for note in self._notes:
            yield from wrapped(f"note: {note}")
        for path in self._reports:
            yield f"report: {_relative(path, self._config)}"


def _measured(config: pytest.Config) -> bool:
    from pytest_msprof.sessions import SESSION

    return SESSION in config.stash


def _comparison_lines(comparison: Comparison) -> Iterator[str]:
    launches = max((delta.launches_current for delta in comparison.deltas), default=0)
    if comparison.golden_missing:
        return
    from pytest_msprof.display import percent
    from pytest_msprof.study_lines import WIDTH, wrapped

    yield from wrapped(f"{_short(comparison.case)}: {comparison.verdict} ({_launches(launches)})")
    for reason in comparison.reasons:
        yield from wrapped(f"  {reason}", indent=2)
    for line in comparison.summary().splitlines():
        yield f"  {line}"[:WIDTH]
    shown = [f"{delta.metric} {percent(delta.detectable)}" for delta in comparison.gating if delta.detectable]
    if shown:
        yield from wrapped(f"  these launches would show a change of {', '.join(shown)}", indent=2)


def _launches(number: int) -> str:
    return f"{number} launch" if number == 1 else f"{number} launches"


def _short(case: str) -> str:
    return case.rpartition("::")[2]


def _relative(path: Path, config: pytest.Config) -> Path:
    try:
        return path.relative_to(config.invocation_params.dir)
    except ValueError:
        return path
