"""The fixtures of a suite rest on each other, and say so when they are used the wrong way."""

from __future__ import annotations

from fake_project import REGRESSION, said

LADDER = """
import datetime

from pytest_msprof.errors import ConfigurationError, LoadError
from pytest_msprof.interfaces import SimulatorInterface

SMALL = Workload(input_tokens=4, output_tokens=2, num_requests=2, warmup=0)


@pytest.fixture
def service_fields():
    return {"capacity": 2}


def test_names(engine_name, simulator):
    assert engine_name == "fake"
    assert issubclass(simulator, SimulatorInterface)


def test_service(service, workload):
    assert service.fields == {"capacity": 2}
    assert service.base_url.startswith("http://127.0.0.1:")
    assert workload.concurrency == 3


def test_run(service, load_generator, record, golden):
    with pytest.raises(ConfigurationError, match="call record.run. first"):
        golden.runs
    run = load_generator.run(SMALL, service)
    kept = record(run)
    assert golden.runs == ()
    assert golden.accepted_at is None
    assert kept.id == run.id
    assert kept.fields == {"capacity": 2}
    assert len(kept.samples) == 2
    assert kept.environment["engine"] == "fake"
    with pytest.raises(LoadError, match="was recorded before"):
        record(run)


def test_two_loads_in_one_test_have_different_requests(service, load_generator, record):
    first, second = (record(load_generator.run(SMALL, service)) for _ in range(2))
    assert first.launch_id == second.launch_id
    assert first.workload_hash == second.workload_hash


def test_unrecorded(service, load_generator):
    load_generator.run(SMALL, service)
"""


def test_the_ladder_from_the_engine_to_the_record(project):
    project.suite(LADDER)

    result = project.run("--msprof-concurrency=3", "--benchmark-json=out.json")

    result.assert_outcomes(passed=5)
    assert project.launches() == 1
    assert len(project.runs()) == 3
    assert not list((project.path / ".msprof" / "runs").glob("*.partial"))


def test_golden_runs_are_there_in_the_next_session(project):
    project.suite(REGRESSION)
    project.run()
    project.suite("""
        import datetime

        def test_chat(service, load_generator, record, golden):
            run = record(load_generator.run(LOAD, service))
            (then,) = golden.runs
            assert then.id != run.id
            assert then.launch_id != run.launch_id
            assert golden.accepted_at < datetime.datetime.now(datetime.UTC)
        """)

    project.run().assert_outcomes(passed=1)
    project.run("--msprof-update-golden").assert_outcomes(failed=1)


def test_without_an_engine_a_test_skips_and_names_the_option(project):
    project.suite(REGRESSION)

    result = project.run("-o", "msprof_engine=")

    assert result.ret == 0
    result.assert_outcomes(skipped=1)
    assert "no engine was chosen: give --msprof-engine NAME, or --msprof-base-url URL" in said(result)
    assert not (project.path / ".msprof").exists()


def test_a_test_for_another_engine_skips_and_names_both(project):
    project.suite("@pytest.mark.engines('vllm')" + REGRESSION)

    result = project.run()

    result.assert_outcomes(skipped=1)
    assert "for engine vllm, but --msprof-engine says fake" in said(result)
    assert not (project.path / ".msprof").exists()


def test_a_trial_knows_its_study_and_its_number(project):
    body = """
def test_study(trial, launch_service, load_generator, record):
    assert "test_study" in trial.study
    print("trial", trial.number, dict(trial.fields))
    with launch_service(trial.fields) as service:
        trial.tell(record(load_generator.run(next(trial.workloads()), service)))
"""
    space = "SearchSpace(choice('capacity', [1, 2]), default={'capacity': 2})"
    project.study(space, body=body, n_trials=2, confirm=1, name="test_suite")

    result = project.run("-s")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*trial 0 {'capacity': 2}", "*trial 1 {'capacity': 1}"])


def test_an_engine_forgets_what_it_heard_between_two_loads_and_not_before_the_first(project):
    project.conftest("""
        from pytest_msprof.testing import FakeSimulator

        FakeSimulator.reset_cache = lambda self: print("forgets", file=open("heard", "a"))
    """)
    project.suite("""
        def test_twice(service, load_generator, record):
            for load in (LOAD, LOAD.with_load(concurrency=4)):
                record(load_generator.run(load, service))
    """)

    project.run().assert_outcomes(passed=1)

    assert (project.path / "heard").read_text() == "forgets\n"
