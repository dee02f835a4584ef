"""Settings: sources and their order, what hangs together, and a plugin's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_msprof import config_toml, settings
from pytest_msprof.errors import InvalidSettings, PluginError
from pytest_msprof.settings import Settings, get_settings, register_settings


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_toml, "_session", type(config_toml.session())())
    monkeypatch.setattr(settings, "_make", None)
    monkeypatch.setattr(settings, "_made", None)


def use(text: str) -> None:
    Path("config.toml").write_text(text)
    config_toml.use(files=(Path("config.toml"),))


def test_nothing_is_written_by_making_them(tmp_path: Path) -> None:
    Settings()
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_the_file_leaves_the_rest_of_its_table_as_shipped() -> None:
    use("[vllm.command]\nmodel = 'm'\n")
    found = Settings()
    assert found.vllm.command.model == "m"
    assert found.vllm.command.host == "127.0.0.1"
    assert [entry.name for entry in found.vllm.target_field] == [
        "MAX_NUM_BATCHED_TOKENS",
        "MAX_NUM_SEQS",
        "CONCURRENCY",
    ]


def test_fields_of_the_file_replace_the_shipped_ones() -> None:
    use("[[vllm.target_field]]\nname = 'A'\nconfig_position = 'env'\nmin = 1\nmax = 2\ndtype = 'int'\n")
    (field,) = Settings().vllm.target_field
    assert (field.name, field.min, field.max, field.dtype, field.value) == ("A", 1, 2, "int", None)


def test_arguments_win_over_the_environment_which_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    use("iters = 1\nn_particles = 1\nttft_slo = 1.5\n")
    monkeypatch.setenv("MODEL_EVAL_STATE_ITERS", "2")
    monkeypatch.setenv("MODEL_EVAL_STATE_N_PARTICLES", "2")
    found = Settings(iters=3)
    assert (found.iters, found.n_particles, found.ttft_slo) == (3, 2, 1.5)


def test_a_later_file_changes_only_what_it_says() -> None:
    Path("model_eval_state.toml").write_text("iters = 7\n[vllm.command]\nport = 1\nmodel = 'm'\n")
    use("[vllm.command]\nport = 2\n")
    found = Settings()
    assert (found.iters, found.vllm.command.port, found.vllm.command.model) == (7, "2", "m")


def test_the_benchmark_goes_where_the_server_listens() -> None:
    use("[vllm.command]\nserved_model_name = 'tiny'\n")
    config_toml.use(model="/models/tiny")
    found = Settings()
    for name in ("host", "port", "model", "served_model_name"):
        assert getattr(found.vllm_benchmark.command, name) == getattr(found.vllm.command, name) != ""


def test_a_free_port_is_chosen_once_a_session() -> None:
    assert int(get_settings().vllm.command.port) > 0
    assert get_settings().vllm.command.port == get_settings().vllm.command.port


def test_the_store_follows_the_output_folder_unless_it_is_named() -> None:
    assert Settings(output="there").data_storage.store_dir == Path("there/store")
    use("[data_storage]\npso_top_k = 1\n")
    assert Settings(output="there").data_storage.store_dir == Path("there/store")
    use("[data_storage]\nstore_dir = 'mine'\n")
    assert Settings(output="there").data_storage.store_dir == Path("mine")


def test_a_value_that_does_not_fit_is_an_error_that_names_key_and_value() -> None:
    use("iters = 0\n")
    with pytest.raises(InvalidSettings, match=r"settings key 'iters': input should be greater than 0, but got 0"):
        get_settings()


def test_registered_settings_are_made_once_and_read_the_file() -> None:
    class CusSettings(Settings):
        name: str = "vllm-inference-optimization"

    calls = []
    register_settings(lambda: calls.append(1) or CusSettings())
    use("iters = 4\n")
    assert (get_settings().name, get_settings().iters, len(calls)) == ("vllm-inference-optimization", 4, 1)


def test_settings_are_made_again_when_the_command_line_names_another_model() -> None:
    assert get_settings().vllm.command.model == ""
    config_toml.use(model="m")
    assert get_settings().vllm.command.model == "m"


def test_registering_none_goes_back_to_the_plain_ones() -> None:
    class Mine(Settings):
        name: str = "mine"

    register_settings(Mine)
    assert type(get_settings()) is Mine
    register_settings(None)
    assert type(get_settings()) is Settings


@pytest.mark.parametrize(
    ("func", "message"),
    [
        (lambda: 1 / 0, "failed: ZeroDivisionError: division by zero"),
        (dict, "returned {}, not a Settings"),
    ],
)
def test_a_function_that_fails_is_an_error_that_says_so(func, message) -> None:
    register_settings(func)
    with pytest.raises(PluginError, match=message):
        get_settings()


def test_only_a_function_can_be_registered() -> None:
    with pytest.raises(PluginError, match="needs a function that makes the settings, not 5"):
        register_settings(5)
