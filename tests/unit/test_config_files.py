"""Config files of engines: a private copy is edited, and no path is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_msprof.config_files import edited_copy, set_path
from pytest_msprof.errors import InvalidSettings
from pytest_msprof.fields import OptimizerConfigField

CONFIG = {
    "Version": "1.0.0",
    "BackendConfig": {
        "ScheduleConfig": {"maxBatchSize": 200, "supportSelectBatch": False},
        "ModelDeployConfig": {"ModelConfig": [{"worldSize": 1, "modelName": "qwen"}]},
    },
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "installed" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONFIG), encoding="utf-8")
    return path


def at(position: str, value: Any) -> OptimizerConfigField:
    return OptimizerConfigField(name=position.rsplit(".", 1)[-1] or "x", config_position=position, value=value)


def edited(source: Path, tmp_path: Path, *params: OptimizerConfigField) -> dict[str, Any]:
    copy = edited_copy(source, tmp_path / "launch", params)
    return dict(json.loads(copy.read_text(encoding="utf-8")))


def test_a_value_is_set_below_its_dotted_path(source: Path, tmp_path: Path) -> None:
    found = edited(source, tmp_path, at("BackendConfig.ScheduleConfig.maxBatchSize", 64))
    assert found["BackendConfig"]["ScheduleConfig"] == {"maxBatchSize": 64, "supportSelectBatch": False}


def test_a_number_in_a_path_is_the_index_of_a_list(source: Path, tmp_path: Path) -> None:
    found = edited(source, tmp_path, at("BackendConfig.ModelDeployConfig.ModelConfig.0.worldSize", 4))
    assert found["BackendConfig"]["ModelDeployConfig"]["ModelConfig"] == [{"worldSize": 4, "modelName": "qwen"}]


@pytest.mark.parametrize("value", [0, False, "", 0.5, [1, 2], {"a": 1}])
def test_false_zero_and_empty_are_values(source: Path, tmp_path: Path, value: object) -> None:
    found = edited(source, tmp_path, at("BackendConfig.ScheduleConfig.maxBatchSize", value))
    assert found["BackendConfig"]["ScheduleConfig"]["maxBatchSize"] == value


def test_the_last_key_may_be_new(source: Path, tmp_path: Path) -> None:
    found = edited(source, tmp_path, at("BackendConfig.ScheduleConfig.maxPreemptCount", 3))
    assert found["BackendConfig"]["ScheduleConfig"]["maxPreemptCount"] == 3


def test_the_installed_file_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    before = source.read_bytes()
    source.chmod(0o640)
    copy = edited_copy(source, tmp_path / "launch", [at("Version", "2")])
    assert source.read_bytes() == before
    assert copy != source
    assert copy.stat().st_mode & 0o777 == 0o640


def test_fields_that_belong_elsewhere_or_have_no_value_are_left_out(source: Path, tmp_path: Path) -> None:
    params = (at("env", 8), at("", 8), at("BackendConfig.ScheduleConfig.maxBatchSize", None))
    assert edited(source, tmp_path, *params) == CONFIG


@pytest.mark.parametrize(
    ("position", "message"),
    [
        ("BackendConfig.SchedulConfig.maxBatchSize", r"'SchedulConfig'.*did you mean 'ScheduleConfig'"),
        ("backend", ""),
        ("BackendConfig.ModelDeployConfig.ModelConfig.1.worldSize", "is a list of 1, which has no index '1'"),
        ("BackendConfig.ModelDeployConfig.ModelConfig.-1.worldSize", "has no index '-1'"),
        ("BackendConfig.ModelDeployConfig.ModelConfig.1", "has no index '1'"),
        ("Version.major", "'Version' is '1.0.0', which has no key 'major'"),
        ("BackendConfig..x", "leads nowhere"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_with_the_nearest_key(
    source: Path, tmp_path: Path, position: str, message: str
) -> None:
    if not message:
        assert edited(source, tmp_path, at(position, 1))[position] == 1
        return
    with pytest.raises(InvalidSettings, match=message):
        edited(source, tmp_path, at(position, 1))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"nowhere\.json: No such file"):
        edited_copy(tmp_path / "nowhere.json", tmp_path / "launch", [])
    (tmp_path / "broken.json").write_text("{'a': 1}", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=r"broken\.json is no JSON"):
        edited_copy(tmp_path / "broken.json", tmp_path / "launch", [])


def test_a_copy_beside_the_file_would_be_the_file(source: Path) -> None:
    with pytest.raises(InvalidSettings, match="would be the file itself"):
        edited_copy(source, source.parent, [])


def test_a_value_that_json_lacks_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot hold"):
        edited_copy(source, tmp_path / "launch", [at("Version", float("inf"))])


def test_a_document_that_is_a_list_has_indexes() -> None:
    document = [{"a": 1}, {"a": 2}]
    set_path(document, "1.a", 3)
    assert document == [{"a": 1}, {"a": 3}]
