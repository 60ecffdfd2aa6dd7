"""The token: where it is found, and that it is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.auth import VARIABLES, find_token, redact


def test_no_token_is_none():
    assert find_token() is None


@pytest.mark.parametrize("name", VARIABLES)
def test_each_variable_is_read(name, monkeypatch):
    monkeypatch.setenv(name, "hf_fromtheenvironment")
    token = find_token()
    assert token is not None and (token.value, token.where) == ("hf_fromtheenvironment", name)


@pytest.mark.parametrize(
    "line",
    [
        "HUGGINGFACE_API_TOKEN=hf_dot",
        'export HF_TOKEN="hf_dot" # mine',
        "HF_TOKEN = 'hf_dot'",
        "HF_TOKEN=hf_dot # x",
    ],
)
def test_a_dotenv_file_is_read(line):
    Path(".env").write_text(f"# settings\nOTHER=1\n{line}\n")
    token = find_token()
    assert token is not None and token.value == "hf_dot" and token.where.startswith(".env")


def test_the_login_file_is_read_last(machine, monkeypatch):
    file = machine / "home/.cache/huggingface/token"
    file.parent.mkdir(parents=True)
    file.write_text("hf_login\n")
    token = find_token()
    assert token is not None and (token.value, token.where) == ("hf_login", str(file))
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    assert find_token().value == "hf_environment"


def test_an_empty_variable_is_no_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "  ")
    assert find_token() is None


def test_a_token_is_in_no_text(monkeypatch):
    monkeypatch.setenv("HUGGINGFACE_API_KEY", "an-unusual-secret")
    token = find_token()
    assert "unusual" not in f"{token!r} {token}"
    said = redact("an-unusual-secret hf_abcdefghij https://u:p%40w@h/x Authorization: Bearer abcdefgh")
    assert said == "*** hf_*** https://***@h/x Authorization: Bearer ***"


def test_a_key_of_the_catalogue_is_no_token() -> None:
    assert redact("hf_generation_kwargs, hf_model_name") == "hf_generation_kwargs, hf_model_name"
