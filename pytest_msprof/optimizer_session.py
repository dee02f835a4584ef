"""What the optimizer command adds to a test session: its study, its table, its backups."""

from __future__ import annotations

import shlex
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pytest_msprof.collection import slot_of
from pytest_msprof.errors import ConfigurationError, MsprofError
from pytest_msprof.optimizer_csv import write_csv, write_trials
from pytest_msprof.options import as_usage_error
from pytest_msprof.results import Run
from pytest_msprof.sessions import options_of
from pytest_msprof.summary import SessionSummary, StudySummary, TrialRecord

__all__ = ["OptimizerSession"]


class OptimizerSession:
    """A plugin of one pytest session; afterwards it knows the study and where the table lies."""

    def __init__(self, engine: str, benchmark: str, *, resume: bool, backup: bool, started: datetime) -> None:
        self.engine, self.benchmark = engine, benchmark
        self.resume, self.backup, self.started = resume, backup, started
        self.study: StudySummary | None = None
        self.table: Path | None = None
        self._runs: dict[str, Run] = {}
        self._folders: dict[str, Path] = {}
        self._trials: dict[int, TrialRecord] = {}
        self._backups: dict[int, Path] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Make the study before the suite asks for it; what cannot be done ends the session at once."""
        from pytest_msprof import config_toml
        from pytest_msprof.optimizer_study import OptimizerStudy, prepare
        from pytest_msprof.settings import get_settings

        try:
            options = options_of(session.config)
            config_toml.use(files=(options.config,) if options.config else (), model=options.model or "")
            prepare(OptimizerStudy.of(self.engine, self.benchmark, get_settings()))
        except ConfigurationError as error:
            raise as_usage_error(error) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Confirm nothing again when a resumed study had nothing left to measure."""
        slot = slot_of(item)
        if self.resume and slot is not None and slot.kind == "confirm" and not self._trials:
            pytest.skip("every trial was answered from the log: nothing new to confirm")

    def pytest_msprof_run_recorded(self, run: Run, folder: Path) -> None:
        """Keep what the table needs of each run."""
        self._runs[run.id], self._folders[run.id] = run, folder

    def pytest_msprof_trial_finished(self, trial: TrialRecord) -> None:
        """Keep its files where that was asked for, and write the table so far."""
        self._trials[trial.number] = trial
        if self.backup:
            self._back_up(trial)
        self._write_so_far()

    def pytest_msprof_terminal_lines(self, summary: SessionSummary) -> list[str]:
        """Write the whole table at the end, trials of earlier sessions included."""
        if summary.studies:
            self.study = summary.studies[0]
            runs = {**self._earlier_runs(summary), **self._runs}
            self.table = write_csv(self._path(), self.study, runs=runs, **self._common())
        return []

    def best(self) -> list[str]:
        """Say what came out, for the end of the output: the table first, the best last."""
        lines = [f"table: {self.table}"] if self.table else []
        if self.study is not None and self.study.winner is not None:
            from pytest_msprof.display import field_values, metric_value

            best = self.study.trial(self.study.winner)
            value = metric_value(self.study.objective, best.value) if best.value is not None else "not measured"
            if self.study.command:
                variables = [f"{name}={shlex.quote(value)}" for name, value in self.study.environment.items()]
                lines.append(f"command: {' '.join([*variables, self.study.command])}")
            lines.append(f"best: {field_values(best.fields) or 'the default'}: {self.study.objective} {value}")
        return lines

    def _write_so_far(self) -> None:
        trials = [self._trials[number] for number in sorted(self._trials)]
        self.table = write_trials(self._path(), trials, runs=self._runs, **self._common())

    def _common(self) -> dict[str, Any]:
        from pytest_msprof.optimizer_study import current
        from pytest_msprof.settings import get_settings

        return {"settings": get_settings(), "columns": current().columns, "backups": self._backups}

    def _path(self) -> Path:
        from pytest_msprof.settings import get_settings

        return get_settings().data_storage.store_dir / f"data_storage_{self.started:%Y%m%d%H%M%S}.csv"

    def _back_up(self, trial: TrialRecord) -> None:
        """Copy the log of the engine and the files of the load to `<output>/bak/<number>`."""
        from pytest_msprof.settings import get_settings

        target = get_settings().output / "bak" / str(trial.number)
        target.mkdir(parents=True, exist_ok=True)
        for run_id in trial.run_ids:
            run, folder = self._runs.get(run_id), self._folders.get(run_id)
            if run is None or folder is None:
                continue
            log = folder.parent.parent / "logs" / run.launch_id
            for source, name in ((log, self.engine), (folder, self.benchmark)):
                if source.is_dir():
                    shutil.copytree(source, target / name, dirs_exist_ok=True)
        if trial.log_tail:
            (target / "log_tail.txt").write_text(trial.log_tail, encoding="utf-8")
        self._backups[trial.number] = target

    def _earlier_runs(self, summary: SessionSummary) -> dict[str, Run]:
        """Load the runs of trials that earlier sessions measured, as far as they were kept."""
        from pytest_msprof.store import RunStore

        store, found = RunStore(Path(summary.rootdir) / ".msprof" / "runs"), {}
        for run_id in (run_id for trial in summary.studies[0].trials for run_id in trial.run_ids):
            if run_id in self._runs:
                continue
            try:
                found[run_id] = store.load(run_id)
            except MsprofError:
                continue
        return found
