"""Secrets never survive redaction, and what is no secret does."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_msprof.redaction import MASK, is_secret_name, redact, secrets_in

SECRET = st.text(string.ascii_letters + string.digits + "-_.!$%^@:", min_size=8, max_size=40).filter(
    lambda text: text[0].isalnum() and text[-1].isalnum()
)
ANYTHING = st.text(min_size=1).filter(lambda text: text not in MASK)
NAMES = st.sampled_from(
    [
        "HF_TOKEN",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
        "AWS_SECRET_ACCESS_KEY",
        "PGPASSWORD",
        "DB_PASSWORD_FILE",
        "api_key",
        "apiKey",
        "X-Api-Key",
        "client-secret",
        "accessToken",
        "Authorization",
        "token",
    ]
)
OPTIONS = st.sampled_from(["--api-key", "--hf-token", "--token", "--password", "--db_password", "-api_key"])


@given(NAMES, ANYTHING)
def test_what_stands_under_a_secret_name_does_not_survive_at_any_depth(name: str, secret: str) -> None:
    assert redact({"engine": [{"env": {name: secret}}]}) == {"engine": [{"env": {name: MASK}}]}


@given(OPTIONS, ANYTHING)
def test_the_value_of_a_secret_option_does_not_survive(option: str, secret: str) -> None:
    assume(not secret.startswith("--"))
    assert redact(["serve", option, secret, "--port", "1"]) == ["serve", option, MASK, "--port", "1"]
    assert redact(("serve", f"{option}={secret}")) == ("serve", f"{option}={MASK}")


@given(SECRET, SECRET)
def test_no_value_of_an_option_that_takes_several_survives(one: str, two: str) -> None:
    assert redact(["--api-key", one, two, "--port", "1"]) == ["--api-key", MASK, MASK, "--port", "1"]


@given(SECRET)
def test_a_secret_in_running_text_does_not_survive(secret: str) -> None:
    texts = [
        f"Authorization: Bearer {secret}",
        f"-H 'authorization: Basic {secret}' -v",
        f'{{"Authorization": "Bearer {secret}", "n": 1}}',
        f"got Bearer {secret}; refused",
        f"https://me:{secret}@host:8000/v1?x=1",
        f"https://{secret}@host/v1",
        f"postgresql+psycopg://user:{secret}@db/optuna",
        f"GET http://host/v1?n=1&api_key={secret}&m=2",
        f"http://host/v1?key={secret}#top",
        f"http://host/v1?access_token={secret}",
        f"export HF_TOKEN={secret}",
        f"serve model --api-key {secret} --port 1",
        f"args: {{'api_key': ['{secret}', '{secret}'], 'port': 1}}",
        f'"password": "{secret}"',
        f"client_secret = '{secret}'",
        f"x-api-key: {secret}",
        f"argv: ['serve', '--api-key', '{secret}']",
        f"status: token={secret}",
    ]
    for text in texts:
        assert secret not in redact(text), text
        assert MASK in redact(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from("abc"),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["a", "port", "n_tokens"]), inner),
    )
)
def test_data_without_secrets_comes_back_equal(value: Any) -> None:
    assert redact(value) == value


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "harmless",
    [
        {"time_per_output_token": 0.05, "time_to_first_token": 0.2, "max_tokens": 64, "eos_token": "<|im_end|>"},
        {"study_key": "0a1b", "golden_key": "2c3d", "tokenizer": "models/tiny", "key": "case", "monkey": "banana"},
        {"API_KEY": None, "HF_TOKEN": "", "use_secret": True},
        ["serve", "models/tiny", "--max-num-batched-tokens", "256", "--port", "8000", "--ssl-keyfile", "key.pem"],
        "http://127.0.0.1:8000/v1/models?limit=3 answered 200",
        "generated 64 tokens at 0.002 s/token, fine",
        "write to me@example.org about the token that failed",
        "sqlite:////tmp/study.db",
    ],
)
def test_what_is_no_secret_stays(harmless: Any) -> None:
    assert redact(harmless) == harmless


def test_the_rest_of_a_line_stays_readable() -> None:
    text = "POST http://me:pw@host/v1?api_key=abc&n=3 (Bearer xyz) status: token=abc done"
    assert redact(text) == "POST http://me:***@host/v1?api_key=***&n=3 (Bearer *** status: token=*** done"


def test_a_token_of_a_known_shape_is_found_without_a_name() -> None:
    assert redact("pushed with hf_AbCdEfGhIjKlMnOpQrStUv, thanks") == f"pushed with {MASK}, thanks"


def test_the_original_is_left_alone() -> None:
    env = {"HF_TOKEN": "open-sesame", "list": ["--token", "x"]}
    before = json.dumps(env)
    redact(env)
    assert json.dumps(env) == before


@pytest.mark.parametrize("name", ["HF_TOKEN", "--api-key", "apiKey", "X-API-Key", "PGPASSWORD", "my.secret.value"])
def test_names_of_secrets_are_recognised_in_every_spelling(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["PATH", "tokens", "first_token", "keyboard", "PUBLIC", "primary_key", "passes"])
def test_other_names_are_not(name: str) -> None:
    assert not is_secret_name(name)


def test_the_secrets_themselves_are_known_so_that_logs_can_be_searched_for_them() -> None:
    env = {
        "HF_TOKEN": "open-sesame",
        "DB": "postgresql://me:tr0ub4dor@db/x",
        "HOME": "/root",
        "OPENAI_API_KEY": "EMPTY",
    }
    command = ["serve", "--api-key", "abra-cadabra", "--token=simsalabim", "--port", "1"]
    assert set(secrets_in(env, command)) == {"open-sesame", "tr0ub4dor", "abra-cadabra", "simsalabim"}


def test_several_secrets_of_one_argument_are_each_found() -> None:
    command = ["sh", "-c", "A_KEY=open-sesame B_TOKEN=simsalabim vllm --db postgres://me:abracadabra@host/x"]

    assert {"open-sesame", "simsalabim", "abracadabra"} <= set(secrets_in({}, command))


def test_a_word_of_a_megabyte_is_read_once() -> None:
    text = "x" * 1_000_000
    assert redact(text) == text
