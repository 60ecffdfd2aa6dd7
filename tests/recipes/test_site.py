"""The documentation's site: complete, built without a warning, and nothing in it from elsewhere."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from lxml import html
from tests.chromium import chromium
from tests.recipes.page import ROOT

import modelyard

REFERENCE = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md")))


def test_every_public_name_is_in_the_reference() -> None:
    whole = re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE)
    homes = {name: getattr(modelyard, name).__module__ for name in modelyard.__all__}
    missing = {name for name, home in homes.items() if f"modelyard.{name}" not in whole and home not in whole}
    assert missing == set()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    return folder


def documents(site: Path) -> Iterator[tuple[str, Any]]:
    for file in sorted(site.rglob("*.html")):
        yield file.relative_to(site).as_posix(), html.parse(file).getroot()


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    taken = [
        (name, one)
        for name, page in documents(site)
        for one in page.xpath(
            "//script/@src | //img/@src | //link[not(@rel='canonical')]/@href | //iframe/@src"
        )
    ]
    assert len(taken) > 100
    assert [one for one in taken if re.match(r"(\w+:)?//", one[1])] == []


@pytest.mark.slow
def test_the_command_line_page_has_every_command_and_option(site: Path) -> None:
    from typer.main import get_command

    from modelyard.cli.app import app

    page = dict(documents(site))["reference/command.html"]
    titles = {one.text_content().rstrip("¶") for one in page.xpath("//h2 | //h3")}
    terms = " ".join(one.text_content() for one in page.xpath("//dt"))

    def look(command: Any, path: str) -> None:
        assert path in titles
        for one in command.params:
            assert all(name in terms for name in one.opts if name.startswith("--")), (path, one.opts)
        for name, inside in getattr(command, "commands", {}).items():
            look(inside, f"{path} {name}")

    look(get_command(app), "modelyard")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """The site behind a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_public_name_is_found_by_the_search_and_nobody_else_is_asked(url: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        faults: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{url}/index.html")
        page.locator("[data-md-component=search-query]").first.fill("create_benchmark_runner")
        page.locator(".md-search-result__item").first.wait_for(state="attached", timeout=20_000)
        assert "create_benchmark_runner" in page.locator(".md-search-result__list").inner_text()
        assert [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []
        assert faults == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index", "recipes/serve", "reference/models", "reference/command", "log"])
def test_a_page_is_no_wider_than_the_screen(url: str, name: str, width: int) -> None:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto(f"{url}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
