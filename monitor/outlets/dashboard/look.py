"""How pages look to one reader: light or dark, kept in a cookie; and the files that pages name."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

THEMES = ("light", "dark")
_COOKIE, _COOKIE_S = "theme", 365 * 86_400
_LONGEST_ADDRESS = 2_000
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOREVER = "private, max-age=31536000, immutable"
_A_DAY = "private, max-age=86400"


def look_of(request: Request) -> dict[str, str]:
    """theme : empty = as the reader's system; address : of this page, to come back to"""
    theme = request.cookies.get(_COOKIE, "")
    query = f"?{request.url.query}" if request.url.query else ""
    return {"theme": theme if theme in THEMES else "", "address": f"{request.url.path}{query}"}


async def choose_theme(request: Request) -> Response:
    """Keeps the choice and goes back to the page that it was made on."""
    form = parse_qs((await request.body()).decode("utf-8", "replace"))
    theme = form.get("to", [""])[0]
    response = RedirectResponse(_own(form.get("back", ["/"])[0]), status_code=303)
    if theme in THEMES:
        response.set_cookie(
            _COOKIE, theme, max_age=_COOKIE_S, httponly=True, samesite="lax",
            secure=request.url.scheme == "https",
        )  # fmt: skip
    else:
        response.delete_cookie(_COOKIE)
    return response


def _own(address: str) -> str:
    """Only to a page of ours: a form elsewhere may name any address."""
    parts = urlsplit(address)
    is_own = address.startswith("/") and not parts.scheme and not parts.netloc
    is_plain = address.isascii() and address.isprintable() and "\\" not in address
    return address if is_own and is_plain and len(address) <= _LONGEST_ADDRESS else "/"


class PageFiles:
    """Style sheets, scripts and icons that lie beside the templates, by their names."""

    def __init__(self) -> None:
        self._contents: dict[str, tuple[bytes, str]] = {}
        package = files("monitor.outlets.dashboard")
        for one in [*(package / "pages").iterdir(), *(package / "vendored").iterdir()]:
            suffix = one.name[one.name.rfind(".") :]
            if suffix in _KINDS:
                self._contents[one.name] = one.read_bytes(), _KINDS[suffix]

    @property
    def names(self) -> list[str]:
        return sorted(self._contents)

    def address(self, name: str) -> str:
        """Another one whenever the file is another, so that browsers may keep it."""
        return f"/{name}?of={hashlib.sha256(self._contents[name][0]).hexdigest()[:12]}"

    def give(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/").replace("favicon.ico", "favicon.svg")
        if name not in self._contents:
            raise HTTPException(404)
        content, kind = self._contents[name]
        held = _FOREVER if "of" in request.query_params else _A_DAY
        return Response(content, media_type=kind, headers={"cache-control": held})
