"""The options of the runner's server: its own, and every key of a runner's settings."""

from __future__ import annotations

import pytest

from msprof_runners.serving.__main__ import parse


def test_options_of_its_own_have_defaults_and_others_are_settings_spelled_as_in_yaml():
    options, settings = parse(
        ["models/tiny", "--port", "8123", "--world-size", "2", "--dtype=bfloat16", "--seed", "-3"]
    )
    assert (options.model, options.port, options.batch_size, options.prefill_tokens) == ("models/tiny", 8123, 16, 2048)
    assert settings == {"world_size": 2, "dtype": "bfloat16", "seed": -3}


def test_a_flag_is_true_and_its_negation_false():
    _, settings = parse(["tiny", "--enable-weight-nz", "--no-with-ckpt", "--max-new-tokens", "3"])
    assert settings == {"enable_weight_nz": True, "with_ckpt": False, "max_new_tokens": 3}


def test_a_word_that_belongs_to_no_option_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["tiny", "--seed", "3", "4"])
    assert caught.value.code == 2
    assert "unrecognized arguments: 4" in capsys.readouterr().err
