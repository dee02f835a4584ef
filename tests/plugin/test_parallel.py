"""Workers share a study: each measures on devices of its own, and what a dead one held goes back."""

from __future__ import annotations

from fake_project import said

NOTES = """
class Noting(Fake):
    def run(self, run_params=None, **more):
        with open("devices", "a") as file:
            print(*self.context.devices, file=file)
        super().run(run_params, **more)


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Noting)
"""
DIES_ONCE = """
def test_study(trial, launch_service, load_generator, record):
    import os, pathlib, signal

    with launch_service(trial.fields) as service:
        for workload in trial.workloads():
            run = load_generator.run(workload, service)
            if trial.number == 1 and not pathlib.Path("died").exists():
                pathlib.Path("died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            trial.tell(record(run))
"""


def test_each_worker_searches_on_a_group_of_devices_of_its_own(project):
    project.conftest(NOTES)
    project.study("SearchSpace(integers('capacity', 1, 64), default={'capacity': 1})", n_trials=6, search="auto")

    result = project.run("-n", "2", "--msprof-devices=0-1,2-3")

    assert result.ret == 0, said(result)
    assert set((project.path / "devices").read_text().splitlines()) == {"0 1", "2 3"}
    sizes = [run.fields["capacity"] for run in project.runs()]
    assert len(sizes) == len(set(sizes)) == 6


def test_what_a_worker_held_that_was_killed_is_measured_by_another(project):
    space = "SearchSpace(choice('capacity', [1, 2, 4]), default={'capacity': 1})"
    project.study(space, body=DIES_ONCE, n_trials=4)

    result = project.run("-n", "2", "--msprof-devices=0,1")

    assert (project.path / "died").exists()
    assert "crashed while running" in said(result)
    assert sorted(run.fields["capacity"] for run in project.runs()) == [1, 2, 4]
    assert not project.engines()
