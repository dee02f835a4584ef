"""Options come from the command line, then the ini file, then what is built in."""

from __future__ import annotations

import pytest

from pytest_msprof.errors import ConfigurationError, InvalidSettings
from pytest_msprof.options import Options


@pytest.fixture
def options(pytester):
    def options(*args, ini=""):
        pytester.makeini(f"[pytest]\n{ini}")
        return Options.of(pytester.parseconfig(*args))

    return options


def test_nothing_given_means_what_is_built_in(options, pytester):
    found = options()

    assert (found.engine, found.model, found.base_url, found.load) == ((), None, None, "builtin")
    assert (found.concurrency, found.devices, found.repeat) == ((), ((),), 1)
    assert (found.update_golden, found.fresh, found.strict) == (False, False, False)
    assert (found.report, found.study, found.keep, found.config) == (None, None, None, None)
    assert found.folder == pytester.path / ".msprof"
    assert found.golden == pytester.path / ".msprof" / "golden"


def test_every_option_has_a_twin_in_the_ini_file(options, pytester):
    (pytester.path / "config.toml").touch()
    ini = {
        "engine": "vllm mine",
        "model": "some/model",
        "load": "other",
        "concurrency": "1,8",
        "devices": "0-1,2",
        "repeat": "4",
        "golden": "kept",
        "update_golden": "true",
        "report": "html 'my own'",
        "study": "mine",
        "fresh": "true",
        "strict": "true",
        "keep": "7",
        "config": "config.toml",
    }
    found = options(ini="\n".join(f"msprof_{name} = {value}" for name, value in ini.items()))

    given = options(
        *("--msprof-engine=vllm", "--msprof-engine=mine", "--msprof-model=some/model", "--msprof-load=other"),
        *("--msprof-concurrency=1,8", "--msprof-devices=0-1,2"),
        *("--msprof-repeat=4", "--msprof-golden=kept", "--msprof-update-golden", "--msprof-report=html"),
        *("--msprof-report=my own", "--msprof-study=mine", "--msprof-fresh", "--msprof-strict", "--msprof-keep=7"),
        "--msprof-config=config.toml",
    )
    assert found == given
    assert found.engine == ("vllm", "mine")
    assert options(ini="msprof_base_url = http://localhost:1").base_url == "http://localhost:1"


def test_the_command_line_wins_over_the_ini_file(options):
    found = options("--msprof-load=mine", "--msprof-repeat=2", ini="msprof_load = theirs\nmsprof_repeat = 9")

    assert (found.load, found.repeat) == ("mine", 2)


def test_a_running_service_is_measured_whatever_engine_the_ini_file_starts(options):
    assert options("--msprof-base-url=http://localhost:1", ini="msprof_engine = vllm").engine == ("external",)
    with pytest.raises(ConfigurationError, match="as engine 'external', but --msprof-engine says mine"):
        options("--msprof-base-url=http://localhost:1", "--msprof-engine=mine")


def test_an_engine_named_twice_is_measured_once(options):
    assert options("--msprof-engine=a", "--msprof-engine=b", "--msprof-engine=a").engine == ("a", "b")


def test_a_model_is_looked_for_where_pytest_was_called_and_in_rootdir(options, pytester, monkeypatch):
    (pytester.path / "models").mkdir()
    (pytester.path / "below").mkdir()
    monkeypatch.chdir(pytester.path / "below")

    assert options("--msprof-model=models", f"--rootdir={pytester.path}").model == str(pytester.path / "models")
    assert options("--msprof-model=Qwen/Qwen3").model == "Qwen/Qwen3"


@pytest.fixture
def project(pytester, monkeypatch):
    """Return a project with a suite, beside a model."""
    for folder in ("project/suites", "models/tiny"):
        (pytester.path / folder).mkdir(parents=True)
    (pytester.path / "project" / "suites" / "test_it.py").touch()
    monkeypatch.chdir(pytester.path / "project")
    return pytester.path / "project"


@pytest.mark.parametrize("suites", [["suites"], ["suites/test_it.py::test_it"], []])
def test_where_a_model_lies_says_nothing_about_the_rootdir(project, pytester, suites):
    def rootdir(*args):
        return pytester.parseconfig(*args).rootpath

    models = pytester.path / "models"
    assert rootdir(*suites, "--msprof-model", "../models/tiny") == project
    assert rootdir("--msprof-model", str(models / "tiny"), *suites) == project
    assert rootdir("--msprof-model", "../models/tiny", *suites, f"--rootdir={models}") == models
    (project / "pytest.ini").write_text("[pytest]")
    assert rootdir(*suites, "--msprof-model", "../models/tiny") == project


def test_the_ini_file_beside_a_model_is_not_the_one_of_the_suite(project, pytester):
    (pytester.path / "models" / "pytest.ini").write_text("[pytest]")

    with pytest.raises(pytest.UsageError, match=r"rootdir \S+/models from there; write --msprof-model=../models/tiny"):
        pytester.parseconfig("--msprof-model", "../models/tiny", "suites")

    assert pytester.parseconfig("--msprof-model=../models/tiny", "suites").rootpath == project


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ("--msprof-repeat=0", ConfigurationError, "--msprof-repeat needs a whole number from 1, but got 0"),
        ("--msprof-keep=-1", ConfigurationError, "--msprof-keep needs a whole number from 1, but got -1"),
        ("--msprof-concurrency=0", ConfigurationError, "--msprof-concurrency needs whole numbers from 1"),
        ("--msprof-concurrency=4x", ConfigurationError, "but got '4x'"),
        ("--msprof-devices=a", ConfigurationError, "'a' is neither a device, as 0, nor a range"),
        ("--msprof-devices=0,0", ConfigurationError, "name 0 in two slots"),
        ("--msprof-base-url=localhost", ConfigurationError, "needs an http:// or https:// URL, but got 'localhost'"),
        ("--msprof-config=nowhere", InvalidSettings, "--msprof-config needs a file, but there is no 'nowhere'"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(options, option, error, message):
    with pytest.raises(error, match=message):
        options(option)


def test_a_refused_url_shows_no_password(options):
    with pytest.raises(ConfigurationError) as caught:
        options("--msprof-base-url=ftp://me:hunter22@host")

    assert "hunter22" not in str(caught.value)
