"""What belongs to the load never restarts a service, wherever it is declared."""

from __future__ import annotations

import pytest
from fake_project import BODY, REGRESSION, said

from pytest_msprof.testing import FakeEngine

LOAD_SIDE = "SearchSpace(integers('CONCURRENCY', 1, 8), floats('REQUESTRATE', 500, 900), default={'CONCURRENCY': 2})"


def test_a_space_of_load_side_fields_needs_one_launch(project):
    project.study(LOAD_SIDE, n_trials=4)

    result = project.run()

    result.assert_outcomes(passed=5)
    runs = project.runs()
    assert project.launches() == 1
    assert [run.fields for run in runs] == [{}] * 4
    assert runs[0].workload.concurrency == 2
    assert runs[0].workload.request_rate is None
    assert all(500 <= run.workload.request_rate <= 900 for run in runs[1:])


def test_equal_fields_share_an_engine_and_others_stop_it_first(project):
    project.suite("""
        import psutil

        def living():
            return [process for process in psutil.Process().children(recursive=True) if process.is_running()]

        def test_leases(launch_service):
            ids = []
            for fields in ({"capacity": 2}, {"capacity": 2}, {"capacity": 4}, {"capacity": 2}):
                with launch_service(fields) as service:
                    ids.append(service.launch_id)
                    assert len(living()) == 2  # the engine and its supervisor
                assert len(living()) == 2
            assert ids[0] == ids[1]
            assert len(set(ids)) == 3
        """)

    project.run().assert_outcomes(passed=1)
    assert project.launches() == 3
    assert not project.engines()


def test_a_running_service_is_measured_and_left_running(project):
    project.suite(REGRESSION)
    with FakeEngine(model=project.model, ttft=0.002, itl=0.001) as engine:
        first = project.run("--msprof-base-url", engine.base_url)
        second = project.run("--msprof-base-url", f"{engine.base_url}/v1", "--msprof-model", project.model)

        assert first.ret == second.ret == 0
        assert engine.process.poll() is None
    first.stdout.fnmatch_lines(["golden recorded: test_chat[[]external[]]"])
    assert {run.engine for run in project.runs()} == {"external"}
    assert not any(run.fields for run in project.runs())


def test_the_load_of_a_running_service_can_be_tuned(project):
    project.study(LOAD_SIDE, n_trials=2)
    with FakeEngine(model=project.model, ttft=0.002, itl=0.001) as engine:
        project.run("--msprof-base-url", engine.base_url).assert_outcomes(passed=3)


@pytest.mark.parametrize("place", ["space", "fixture"])
def test_a_running_service_takes_no_server_side_fields(project, place):
    if place == "space":
        project.study("SearchSpace(integers('capacity', 1, 8), integers('CONCURRENCY', 1, 8))", body=BODY)
    else:
        project.suite("@pytest.fixture\ndef service_fields():\n    return {'capacity': 2}\n" + REGRESSION)
    with FakeEngine(model=project.model) as engine:
        result = project.run("--msprof-base-url", engine.base_url)

    printed = said(result) + "".join(result.errlines)
    assert "a running service (--msprof-base-url) cannot be" in printed
    assert "capacity: only load-side fields, CONCURRENCY and REQUESTRATE, can change" in printed
    assert result.ret == (pytest.ExitCode.USAGE_ERROR if place == "space" else pytest.ExitCode.TESTS_FAILED)
    assert not project.runs()


def test_a_service_that_does_not_answer_is_waited_for_once(project):
    project.conftest("""
        from msprof_plugins.external import ExternalSimulator

        class Watched(ExternalSimulator):
            readiness_timeout = 0.2

            def run(self, *fields, **options):
                print("waits", file=open("heard", "a"))

        def pytest_msprof_register_simulators(registry):
            registry.simulators.add("external", Watched)
    """)
    project.suite("""
        import pytest

        @pytest.mark.parametrize("concurrency", [1, 2, 3])
        def test_chat(service, load_generator, record, concurrency):
            record(load_generator.run(LOAD, service))
    """)

    project.run("--msprof-base-url=http://127.0.0.1:1").assert_outcomes(errors=3)

    assert (project.path / "heard").read_text() == "waits\n"


def test_a_search_knows_from_its_trials_what_a_start_costs_and_which_fields_need_none(project):
    project.conftest("""
        from pytest_msprof.tuning import ConstrainedGPSampler

        Fake.behaviour["start_delay"] = 1.5

        class Watched(ConstrainedGPSampler):
            def sample_relative(self, *given):
                if self.cost:
                    shared = [self.cost({**self.running, "CONCURRENCY": load}) for load in (1, 8)]
                    other = self.cost({"capacity": 65 - self.running["capacity"], "CONCURRENCY": 1})
                    print(self.running["capacity"], *shared, other > 2, file=open("heard", "a"))
                return super().sample_relative(*given)

        def pytest_msprof_sampler(name, seed, constraints):
            return Watched(seed=seed) if name == "watched" else None
    """)
    space = "SearchSpace(integers('capacity', 1, 64), integers('CONCURRENCY', 1, 8), default={'capacity': 5})"
    project.study(space, search="watched", n_trials=4)

    project.run().assert_outcomes(passed=5)

    last = project.runs()[2].fields["capacity"]
    assert (project.path / "heard").read_text().splitlines()[-1] == f"{last} 1.0 1.0 True"


LIVE = """
class Live(Fake):
    FIELDS = (*(f.marked(live=True) if f.name == "capacity" else f for f in FakeSimulator.FIELDS), *Fake.FIELDS[-1:])

    def reconfigure(self, params):
        given = {entry.name: entry.value for entry in params}
        print(given.get("capacity"), file=open("heard", "a"))
        if given.get("capacity") == 8:
            raise ServiceError("8 places are too many", failure="bad option")
        return given.get("capacity") != 4


def pytest_msprof_register_simulators(registry):
    registry.simulators.add("fake", Live)
"""


def test_what_a_running_engine_takes_needs_no_start(project):
    project.conftest("from pytest_msprof.errors import ServiceError\n" + LIVE)
    project.study(
        "SearchSpace(choice('capacity', [1, 2, 4, 8, 16]), choice('word', ['token']))", search="manual", n_trials=6
    )

    project.run().assert_outcomes(passed=6, skipped=1)

    runs = [(run.fields.get("capacity"), run.launch_id) for run in project.runs()]
    first, second, third = dict.fromkeys(launch for _, launch in runs)
    assert runs == [(None, first), (1, first), (2, first), (4, second), (16, third)]
    assert (project.path / "heard").read_text().split() == ["1", "2", "4", "8"]
    assert "8 places are too many" in project.reports()["test_study[fake-trial-4]"].why
