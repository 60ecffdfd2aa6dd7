"""The page's files: what they may load, that they load nothing else, and that all is labelled."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from fastapi import FastAPI

from modelyard.serving.routes import pages

FOLDER = Path(pages.__file__).parent / "page"
ASSETS = sorted(one.name for one in FOLDER.iterdir() if one.suffix in (".css", ".js"))
FILES = {"": "page.html", **{f"assets/{name}": name for name in ASSETS}}
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
SCRIPTS = [name for name in ASSETS if name.endswith(".js")]


def text_of(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def ask(path: str, method: str = "GET", keys: object = (), **headers: str) -> httpx2.Response:
    """What the router alone answers, behind a path."""
    app = FastAPI()
    app.state.parts = SimpleNamespace(settings=SimpleNamespace(keys=keys))
    app.include_router(pages.router, prefix="/yard")

    async def asked() -> httpx2.Response:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=app), base_url="http://yard"
        ) as client:
            return await client.request(method, f"/yard/{path}", headers=headers)

    return asyncio.run(asked())


class Elements(HTMLParser):
    """The elements of the page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(text_of("page.html"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def values(self, attribute: str) -> list[str]:
        return [given[attribute] for _, given in self.found if attribute in given]


PAGE = Elements()


@pytest.mark.parametrize("path", FILES)
def test_each_file_comes_with_its_type_and_a_strict_policy(path: str) -> None:
    reply = ask(path)
    assert reply.status_code == 200
    assert reply.text == text_of(FILES[path])
    assert reply.headers["content-type"] == f"{KINDS[Path(FILES[path]).suffix]}; charset=utf-8"
    policy = dict(one.split(" ", 1) for one in reply.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("path", FILES)
def test_a_browser_asks_each_time_and_is_told_that_it_has_the_file(path: str) -> None:
    first = ask(path)
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}'):
        again = ask(path, **{"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert ask(path, **{"If-None-Match": '"other"'}).status_code == 200


def test_the_page_says_whether_the_server_has_keys() -> None:
    without, with_keys = ask(""), ask("", keys=("a key",))
    assert '<html lang="en" data-keys="0">' in without.text
    assert '<html lang="en" data-keys="1">' in with_keys.text
    assert without.headers["etag"] != with_keys.headers["etag"]


def test_the_running_server_has_the_page_and_does_not_list_it_as_api(client: httpx2.Client) -> None:
    reply = client.get("/")
    assert reply.status_code == client.head("/").status_code == 200
    assert reply.headers.get_list("content-security-policy") == [pages.POLICY]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert (
        client.get("/assets/page.html").status_code == client.get("/assets/..%2fpages.py").status_code == 404
    )
    assert not {"/", "/assets/{name}"} & set(client.get("/openapi.json").json()["paths"])


def test_the_files_name_nothing_outside() -> None:
    for name in FILES.values():
        text = text_of(name)
        assert not re.search(r"(?:https?|wss?|ftp):|['\"`]//|[ :]url\(|@import", text), name


def test_every_address_is_relative() -> None:
    addresses = [*PAGE.values("src"), *PAGE.values("href")]
    assert addresses
    assert all(re.match(r"assets/|#|data:image/png;", one) for one in addresses)
    for name in SCRIPTS:
        assert not re.search(r"""(?:call|post|fetch|URL)\(\s*["'`]/""", text_of(name)), name
        imported = re.findall(r'(?:from|import\()\s*"(.*)"', text_of(name))
        assert set(imported) <= {f"./{one}" for one in SCRIPTS}


def test_no_script_or_style_is_inline() -> None:
    assert not [name for _, given in PAGE.found for name in given if name.startswith("on") or name == "style"]
    assert not [tag for tag, _ in PAGE.found if tag == "style"]
    assert [given for tag, given in PAGE.found if tag == "script"] == [
        {"type": "module", "src": "assets/page.js"}
    ]


def test_text_never_becomes_markup() -> None:
    markup = r"innerHTML|outerHTML|insertAdjacent|document\.write|DOMParser|createContextual|setHTML|\beval\b|new Function"
    for name in SCRIPTS:
        assert not re.search(markup, text_of(name)), name


def test_every_field_has_a_label_and_every_reference_its_target() -> None:
    ids = PAGE.values("id")
    assert len(ids) == len(set(ids))
    referred = [one for name in ("for", "aria-labelledby", "aria-controls") for one in PAGE.values(name)]
    referred += [one.removeprefix("#") for one in PAGE.values("href") if one.startswith("#")]
    referred += (one for name in SCRIPTS for one in re.findall(r'\$\("([\w-]+)"\)', text_of(name)))
    assert set(referred) <= set(ids)
    labelled = set(PAGE.values("for"))
    html = text_of("page.html")
    for tag, given in PAGE.found:
        if tag in ("input", "select", "textarea"):
            inside = re.search(rf'<label class="check"[^>]*>[^\n]*id="{given["id"]}"', html)
            assert given["id"] in labelled or inside or "aria-label" in given, given


def test_the_page_is_light() -> None:
    assert sum(len(text_of(name).encode()) for name in FILES.values()) < 60 * 1024
