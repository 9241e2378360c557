"""What addresses of pages say, read strictly."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request


def whole(request: Request, name: str, *, most: int) -> int:
    """0 where it is not given. Raises HTTPException where it is no number, or above `most`."""
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise HTTPException(400, f"{name} must be a whole number.")
    return int(text)
