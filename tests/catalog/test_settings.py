"""Index settings: read as pip and uv read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.catalog.sources.settings import PYPI, read_settings
from modelyard.errors import InvalidArgumentError


@pytest.fixture
def pip_conf(machine, monkeypatch) -> Path:
    file = machine / "pip.conf"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    return file


def test_without_settings_it_is_pypi():
    assert read_settings().indexes == (PYPI,)


def test_a_config_file_is_read_section_by_section(pip_conf):
    pip_conf.write_text(
        "[global]\nindex-url = https://a/simple\nextra_index_url =\n  https://b/simple\n  https://c/simple\n"
        "trusted-host = a\ntimeout = 3\n[download]\nindex-url = https://d/simple\n[freeze]\nindex-url = https://e\n"
    )
    settings = read_settings()
    assert settings.indexes == ("https://d/simple", "https://b/simple", "https://c/simple")
    assert (settings.trusted_hosts, settings.timeout) == (("a",), 3.0)


def test_variables_go_over_files(pip_conf, monkeypatch):
    pip_conf.write_text("[global]\nindex-url = https://a/simple\nfind-links = /x\n")
    monkeypatch.setenv("PIP_INDEX_URL", "https://b/simple")
    settings = read_settings()
    assert (settings.indexes, settings.find_links) == (("https://b/simple",), ("/x",))


def test_the_users_file_goes_over_the_machines(machine, monkeypatch):
    monkeypatch.delenv("PIP_CONFIG_FILE")
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(machine / "xdg"))
    for folder, url in (("xdg/pip", "https://machine"), ("home/.config/pip", "https://user")):
        (machine / folder).mkdir(parents=True)
        (machine / folder / "pip.conf").write_text(f"[global]\nindex-url = {url}\n")
    assert read_settings().indexes[0] == "https://user"


def test_no_index_leaves_only_links(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    settings = read_settings()
    assert (settings.indexes, settings.find_links) == ((), ("/a", "/b"))


def test_uv_variables_count_too(monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://a/simple")
    monkeypatch.setenv("UV_INDEX", "named=https://b/simple https://c/simple?x=1")
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "https://d/simple")
    assert read_settings().indexes == tuple(
        f"https://{one}" for one in ("a/simple", "b/simple", "c/simple?x=1", "d/simple")
    )


def test_credentials_are_not_in_its_repr(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:geheim@a/simple")
    assert "geheim" not in repr(read_settings()) and "a/simple" in repr(read_settings())


def test_a_broken_file_is_named(pip_conf):
    pip_conf.write_text("index-url = https://a\n")
    with pytest.raises(InvalidArgumentError, match=pip_conf.name):
        read_settings()


def test_a_bad_timeout_is_named(monkeypatch):
    monkeypatch.setenv("PIP_TIMEOUT", "soon")
    with pytest.raises(InvalidArgumentError, match="'timeout' has value 'soon'"):
        read_settings()
