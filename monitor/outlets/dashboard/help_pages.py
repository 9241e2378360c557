"""The documentation as pages under /help, from files that `make docs` laid into the package."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

# Its own scripts search and switch colours; nothing inline runs, and nothing comes from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_KINDS: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".woff2": "font/woff2",
}
_NOT_BUILT = (
    "The documentation is not part of this installation; make docs builds it in a checkout."
)
_A_WHILE = "private, max-age=600"


class HelpPages:
    """folder : what `make docs` built; None = where it lies in the package"""

    def __init__(self, folder: Traversable | None = None) -> None:
        self._folder = folder or files("monitor.outlets.dashboard") / "help"

    @property
    def are_there(self) -> bool:
        return (self._folder / "index.html").is_file()

    def give(self, request: Request) -> Response:
        """Raises HTTPException where there is no such page."""
        if not self.are_there:
            raise HTTPException(404, _NOT_BUILT)
        asked = request.path_params.get("path", "")
        if not asked:
            return RedirectResponse("/help/index.html", status_code=307)
        parts = PurePosixPath(asked).parts
        kind = _KINDS.get(PurePosixPath(asked).suffix)
        if kind is None or any(part.startswith((".", "/")) or "\\" in part for part in parts):
            raise HTTPException(404)
        found = self._folder.joinpath(*parts)
        if not found.is_file():
            raise HTTPException(404)
        return Response(
            found.read_bytes(),
            headers={
                "content-type": kind,
                "content-security-policy": POLICY,
                "cache-control": _A_WHILE,
            },
        )
