"""GET /: the page on which models are loaded, tried, compared and written down as code.

HTML, CSS and JavaScript as they are in the package: there is no build step, nothing is loaded from elsewhere,
and what models and catalogues say is only ever shown as text.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import PurePath

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

router = APIRouter(include_in_schema=False)
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may do: run its own script, and talk to the server that it is from."""
_FOLDER = files("modelyard.serving.routes") / "page"
_READ = ["GET", "HEAD"]
_KINDS = {".css": "text/css", ".js": "text/javascript"}
_WITHOUT_KEYS, _WITH_KEYS = b' data-keys="0"', b' data-keys="1"'


class _File:
    """A file of the package, read once.

    Args:
        content: of it.
        media_type: of it.
    """

    def __init__(self, content: bytes, media_type: str) -> None:
        self._content = content
        self._headers = {
            "Content-Type": f"{media_type}; charset=utf-8",
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-cache",  # a browser keeps it, and asks each time whether it is still the same
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }

    def reply(self, request: Request) -> Response:
        """The file, or that the browser has it already."""
        known = [
            one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")
        ]
        if self._headers["ETag"] in known:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)


_HTML = (_FOLDER / "page.html").read_bytes()
_PAGE = _File(_HTML, "text/html")
_PAGE_WITH_KEYS = _File(_HTML.replace(_WITHOUT_KEYS, _WITH_KEYS, 1), "text/html")
_ASSETS = {
    one.name: _File(one.read_bytes(), kind)
    for one in _FOLDER.iterdir()
    if (kind := _KINDS.get(PurePath(one.name).suffix))
}


@router.api_route("/", methods=_READ)
async def page(request: Request) -> Response:
    """The page; where the server has API keys it says so, for the code that it writes down."""
    found = _PAGE_WITH_KEYS if request.app.state.parts.settings.keys else _PAGE
    return found.reply(request)


@router.api_route("/assets/{name}", methods=_READ)
async def asset(request: Request, name: str) -> Response:
    """The page's style and its scripts."""
    if name not in _ASSETS:
        raise HTTPException(404)
    return _ASSETS[name].reply(request)
