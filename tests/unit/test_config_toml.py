"""Reading the seed's file: known keys, ignored keys, unknown keys, and merging."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_msprof import config_toml
from pytest_msprof.config_toml import IgnoredSetting, merged, read_config, to_space
from pytest_msprof.errors import InvalidSettings
from pytest_msprof.fields import OptimizerConfigField, choice, integers
from pytest_msprof.settings import Settings


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_tables_merge_at_every_depth_and_the_later_one_wins() -> None:
    below = {"vllm": {"command": {"port": "1", "model": "a"}, "target_field": [1, 2]}, "iters": 3}
    above = {"vllm": {"command": {"port": "2"}}, "n_particles": 4}
    assert merged(below, above) == {
        "vllm": {"command": {"port": "2", "model": "a"}, "target_field": [1, 2]},
        "iters": 3,
        "n_particles": 4,
    }


def test_a_list_counts_as_one_value() -> None:
    assert merged({"a": [1, 2]}, {"a": [3]}) == {"a": [3]}


def test_merging_leaves_its_arguments_as_they_were() -> None:
    below = {"a": {"b": 1}}
    merged(below, {"a": {"b": 2}})
    assert below == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_particle = 3", r"unknown key 'n_particle' \(known: .*\); did you mean 'n_particles'"),
        ("[vllm]\ntargetfield = []", r"unknown key 'targetfield' in \[vllm\].*did you mean 'target_field'"),
        ("[vllm.command]\nhots = 'x'", r"unknown key 'hots' in \[vllm.command\].*did you mean 'host'"),
        (
            "[[vllm.target_field]]\nname = 'A'\n[[vllm.target_field]]\nmaximum = 3",
            r"unknown key 'maximum' in \[vllm.target_field\]",
        ),
        ("n_particles = ", "not a TOML file"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_names_the_file_and_the_nearest_key(write, text, message) -> None:
    path = write(text)
    with pytest.raises(InvalidSettings, match=message) as error:
        read_config(path, Settings)
    assert str(error.value).startswith(str(path))


def test_keys_without_effect_are_dropped_with_one_note(write) -> None:
    path = write("service = 'master'\niters = 2\n[kubectl]\nkubectl_default_path = ''\n[mindie]\n")
    with pytest.warns(IgnoredSetting, match="without effect here: kubectl, mindie, service") as notes:
        assert read_config(path, Settings) == {"iters": 2}
    assert len(notes) == 1


def test_keys_that_nothing_reads_are_kept_with_the_same_note(write) -> None:
    path = write("ftol = 1e-3\niters = 2\n[data_storage]\npso_top_k = 5\nstore_dir = 'x'\n[mindie]\n")
    with pytest.warns(IgnoredSetting, match=r"without effect here: data_storage\.pso_top_k, ftol, mindie$") as notes:
        kept = read_config(path, Settings)
    assert kept == {"ftol": 1e-3, "iters": 2, "data_storage": {"pso_top_k": 5, "store_dir": "x"}}
    assert len(notes) == 1


def test_a_key_that_a_plugin_declares_is_not_ignored(write, recwarn: pytest.WarningsRecorder) -> None:
    class Mine(Settings):
        service: str = ""

    assert read_config(write("service = 'master'"), Mine) == {"service": "master"}
    assert not recwarn.list


def test_a_file_that_was_named_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_EVAL_STATE_CONFIG_PATH", str(tmp_path / "none.toml"))
    with pytest.raises(InvalidSettings, match=r"none.toml' does not exist"):
        config_toml.config_files()


def test_files_are_read_from_the_general_to_the_particular(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("model_eval_state.toml", "config.toml", "variable.toml", "named.toml"):
        (tmp_path / name).write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODEL_EVAL_STATE_CONFIG_PATH", str(tmp_path / "variable.toml"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_toml, "_session", config_toml.session())
    config_toml.use(searched=(Path("config.toml"), Path("missing.toml")), files=(Path("named.toml"),))
    names = [path.name for path in config_toml.config_files()]
    assert names == ["model_eval_state.toml", "config.toml", "variable.toml", "named.toml"]


def test_the_values_of_fields_are_the_default_configuration() -> None:
    fields = (
        OptimizerConfigField(name="MAX_NUM_SEQS", config_position="env", min=1, max=64, dtype="int", value=8),
        OptimizerConfigField(name="RATE", config_position="env", min=0, max=9, dtype="float", value=None),
    )
    space = to_space(fields)
    assert [entry.name for entry in space] == ["MAX_NUM_SEQS", "RATE"]
    assert dict(space.default) == {"MAX_NUM_SEQS": 8}


def test_a_field_that_the_engine_knows_in_lower_case_is_set_by_the_engine() -> None:
    field = OptimizerConfigField(name="MAX_NUM_SEQS", config_position="env", min=1, max=64, dtype="int", value=8)
    (found,) = to_space([field], [integers("max_num_seqs", 2, 128), choice("dtype", ["a"])])
    assert (found.name, found.config_position, found.max) == ("max_num_seqs", "", 64)


def test_the_coefficients_of_the_swarm_count_where_the_swarm_searches(write, recwarn) -> None:
    settings = read_config(write("search = 'pso'\nmax_fine_tune = 2\n[pso_options]\nw = 0.6"), Settings)
    assert settings["pso_options"] == {"w": 0.6}
    assert not [warning for warning in recwarn if warning.category is IgnoredSetting]

    with pytest.warns(IgnoredSetting, match="without effect here: max_fine_tune, pso_options$"):
        read_config(write("max_fine_tune = 2\n[pso_options]\nw = 0.6"), Settings)
