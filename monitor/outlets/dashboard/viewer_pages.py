"""Addresses for looking at scans: back in time, closely, two beside each other, one colony's life.

All of it only looks. Pages are whole without JavaScript; with it the picture can be moved about in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from monitor.config import Config
from monitor.outlets.dashboard.viewer_facts import Asked, ViewerFacts, look_page
from monitor.outlets.viewing.canvas import Shift
from monitor.outlets.viewing.captures import Captures, Tone
from monitor.outlets.viewing.copies import BusyError, Copies
from monitor.outlets.viewing.layers import Layer
from monitor.outlets.viewing.scenes import Scenes
from monitor.outlets.viewing.still import Look, Still, draw_scene, draw_square
from monitor.outlets.viewing.tiles import Tiles
from monitor.record.store import Store

ShiftBetween = Callable[[int, int, str | None], Shift | None]
RenderPage = Callable[[Request, str, dict[str, Any]], Response]

# Captures that must be read first hold a thread; the other pages have theirs.
_AT_ONCE = 8
_FOREVER = "private, max-age=31536000, immutable"
_A_WHILE = "private, max-age=60"
_LARGEST = 2**62
_WIDEST = 2400
_HOWS = ("one", "side", "wipe")
_Kind = TypeVar("_Kind", Layer, Tone)


class ViewerPages:
    """render : a request, a template's name and its facts -> the page

    shift_between : readings of two scans, and a field's name -> how far the dish was shifted; None
        of it: it is not looked for, and stage positions alone count
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        clock: Callable[[], datetime],
        render: RenderPage,
        frame: Callable[[datetime], dict[str, Any]],
        shift_between: ShiftBetween | None,
    ) -> None:
        self._store, self._clock, self._render, self._frame = store, clock, render, frame
        self._shift_between = shift_between
        self._shifts: dict[tuple[int, int, str | None], Shift | None] = {}
        viewing = config.outlets.dashboard.viewing
        copies = Copies(config.record.folder / "views", round(viewing.disk_gb * 1e9))
        self._captures = Captures(config, copies)
        self._tiles = Tiles(self._captures)
        self._scenes = Scenes(config, store, clock)
        self._facts = ViewerFacts(config, store, self._scenes, self._captures)
        self._limiter: CapacityLimiter | None = None

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/look", self.look),
            Route("/look.jpg", self._slow(self.still)),
            Route("/look/stops.json", self.stops),
            Route("/look/scene.json", self.scene),
            Route("/look/shift.json", self._slow(self.shift)),
            Route("/look/tile", self._slow(self.tile)),
            Route("/colony", self.colony),
            Route("/colony.jpg", self._slow(self.square)),
        ]

    def _slow(self, answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """What may have to read captures, on threads of its own."""

        async def on_a_thread(request: Request) -> Response:
            if self._limiter is None:
                self._limiter = CapacityLimiter(_AT_ONCE)
            try:
                return await run_sync(partial(answer, request), limiter=self._limiter)
            except BusyError:
                raise HTTPException(
                    503, "Other captures are being read. Try again.", {"retry-after": "3"}
                ) from None

        return on_a_thread

    # --- pages ---------------------------------------------------------------------------------

    def look(self, request: Request) -> Response:
        dish = request.query_params.get("name", "")
        if "at" in request.query_params:
            return self._to_the_nearest(request, dish)
        asked = self._asked(request, dish)
        facts = self._facts.look(asked, self._clock())
        return self._render(request, "look", self._frame(self._clock()) | facts)

    def _to_the_nearest(self, request: Request, dish: str) -> Response:
        """From a form: the scan nearest to a time, by the lab's clock."""
        text = request.query_params["at"]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise HTTPException(
                400, "at must be a time such as 2026-11-03T09:30, by the lab's clock."
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._facts.zone_of(dish))
        found = self._store.views.nearest(dish, moment.astimezone(UTC))
        field = request.query_params.get("field") or None
        return RedirectResponse(look_page(dish, found, field=field), status_code=303)

    def colony(self, request: Request) -> Response:
        dish, number = request.query_params.get("name", ""), _whole(request, "number")
        facts = self._facts.colony(dish, number, self._clock())
        return self._render(request, "colony", self._frame(self._clock()) | facts)

    # --- for the viewer ------------------------------------------------------------------------

    def stops(self, request: Request) -> Response:
        return _json(self._facts.stops(request.query_params.get("name", "")))

    def scene(self, request: Request) -> Response:
        return _json(self._facts.scene(_whole(request, "reading"), self._only(request)))

    def shift(self, request: Request) -> Response:
        """Of the second scan's dish, seen from the first's."""
        first, second = _whole(request, "from"), _whole(request, "to")
        field = request.query_params.get("field") or None
        found = self._shift(first, second, field)
        if found is None:
            return _json({"shift": None})
        shift = {"across_um": found.across_um, "down_um": found.down_um}
        return _json({"shift": shift, "likeness": round(found.likeness, 3)})

    def tile(self, request: Request) -> Response:
        scene = self._scenes.scene(_whole(request, "reading"), self._only(request))
        found = self._tiles.tile(
            scene,
            _one_of(Layer, request, "layer", Layer.CAPTURE),
            _one_of(Tone, request, "tone", Tone.EVEN),
            _whole(request, "z", most=64),
            _whole(request, "x"),
            _whole(request, "y"),
        )
        held = _FOREVER if found.is_whole and "of" in request.query_params else _A_WHILE
        headers = {"cache-control": held if found.is_whole else "no-store"}
        return Response(found.content, media_type=found.media_type, headers=headers)

    # --- pictures ------------------------------------------------------------------------------

    def still(self, request: Request) -> Response:
        scene = self._scenes.scene(_whole(request, "reading"), self._only(request))
        width = max(16, _whole(request, "width", most=_WIDEST) or 1200)
        return _picture(request, draw_scene(self._tiles, scene, _look(request), width=width))

    def square(self, request: Request) -> Response:
        """A square of a scene; x, y, side in pixels of its canvas."""
        scene = self._scenes.scene(_whole(request, "reading"), self._only(request))
        centre = float(_whole(request, "x")), float(_whole(request, "y"))
        if centre[0] > scene.canvas.width or centre[1] > scene.canvas.height:
            raise HTTPException(400, "x and y lie outside of the picture.")
        side = min(max(8, _whole(request, "side")), max(scene.canvas.width, scene.canvas.height))
        drawn = draw_square(
            self._tiles, scene, _look(request), centre=centre, side=float(side), size=220
        )
        return _picture(request, drawn)

    # --- parts ---------------------------------------------------------------------------------

    def _only(self, request: Request) -> int | None:
        text = request.query_params.get("only", "")
        return None if text == "" else _whole(request, "only", most=100_000)

    def _shift(self, first: int, second: int, field: str | None) -> Shift | None:
        if self._shift_between is None or first == second:
            return None
        key = first, second, field
        if key not in self._shifts:
            while len(self._shifts) > 1000:
                self._shifts.pop(next(iter(self._shifts)))
            self._shifts[key] = self._shift_between(first, second, field)
        return self._shifts[key]

    def _asked(self, request: Request, dish: str) -> Asked:
        reading = _whole(request, "reading", most=_LARGEST) or None
        other = _whole(request, "with", most=_LARGEST) or None
        how = request.query_params.get("how", "one")
        return Asked(
            dish=dish,
            reading=reading,
            field=request.query_params.get("field") or None,
            other=other,
            how=how if how in _HOWS else "one",
            look=_look(request),
        )


def _look(request: Request) -> Look:
    opacity = _whole(request, "opacity", most=100, usual=100) / 100
    return Look(
        _one_of(Layer, request, "layer", Layer.OUTLINES),
        opacity,
        _one_of(Tone, request, "tone", Tone.EVEN),
    )


def _picture(request: Request, drawn: Still) -> Response:
    held = _FOREVER if "of" in request.query_params else _A_WHILE
    headers = {"cache-control": held if drawn.is_whole else "no-store"}
    return Response(drawn.content, media_type="image/jpeg", headers=headers)


def _json(document: dict[str, Any]) -> Response:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return Response(text, media_type="application/json")


def _one_of(kind: type[_Kind], request: Request, name: str, usual: _Kind) -> _Kind:
    text = request.query_params.get(name) or usual.value
    if text not in {one.value for one in kind}:
        known = ", ".join(one.value for one in kind)
        raise HTTPException(400, f"{name} must be one of: {known}.")
    return kind(text)


def _whole(request: Request, name: str, *, most: int = _LARGEST, usual: int = 0) -> int:
    text = request.query_params.get(name) or str(usual)
    if not (text.isascii() and text.isdigit()) or len(text) > 20 or int(text) > most:
        raise HTTPException(400, f"{name} must be a whole number, at most {most}.")
    return int(text)
