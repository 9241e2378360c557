"""Addresses for series that can be zoomed, compared, and taken away as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.config import Config
from monitor.outlets.dashboard.pictures import Drawn
from monitor.outlets.dashboard.series_facts import (
    RANGES,
    USUAL_RANGE,
    AskedSeries,
    SeriesFacts,
)
from monitor.record.store import Store

RenderPage = Callable[[Request, str, dict[str, Any]], Response]
_AT_MOST = 64


class SeriesPages:
    """render, frame : as of `ViewerPages`"""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        clock: Callable[[], datetime],
        render: RenderPage,
        frame: Callable[[datetime], dict[str, Any]],
    ) -> None:
        self._clock, self._render, self._frame = clock, render, frame
        self._facts = SeriesFacts(config, store)
        self._store = store
        self._plots = Drawn(megabytes=20)

    @property
    def routes(self) -> list[Route]:
        return [
            Route("/series", self.series),
            Route("/series.json", self.document),
            Route("/series.csv", self.csv),
            Route("/series/plot.png", self.png),
            Route("/series/plot.svg", self.svg),
        ]

    def series(self, request: Request) -> Response:
        now = self._clock()
        return self._render(
            request, "series", self._frame(now) | self._facts.page(_asked(request), now)
        )

    def document(self, request: Request) -> Response:
        told = self._facts.document(_asked(request), self._clock())
        text = json.dumps(told, separators=(",", ":"), allow_nan=False)
        return Response(text, media_type="application/json")

    def csv(self, request: Request) -> Response:
        asked = _asked(request)
        content = self._facts.csv(asked, self._clock())
        return _file(content, "text/csv; charset=utf-8", f"{_stem(asked)}.csv")

    def png(self, request: Request) -> Response:
        return self._plot(request, "png", "image/png")

    def svg(self, request: Request) -> Response:
        return self._plot(request, "svg", "image/svg+xml")

    def _plot(self, request: Request, form: Any, media_type: str) -> Response:
        asked, now = _asked(request), self._clock()
        # What was drawn holds for as long as the newest scans are the same.
        newest = tuple(self._store.dishes.newest_at(name) for name in asked.dishes[:_AT_MOST])
        stories = self._facts.stories(asked, now)
        told = tuple((len(one.readings), len(one.alerts), len(one.annotations)) for one in stories)
        key = asked, form, newest, told
        content = self._plots.picture(key, lambda: self._facts.plot(asked, now, form))
        return _file(content or b"", media_type, f"{_stem(asked)}.{form}", is_shown=True)


def _asked(request: Request) -> AskedSeries:
    names = [name for name in request.query_params.getlist("name") if name]
    days = request.query_params.get("days", USUAL_RANGE)
    return AskedSeries(
        tuple(dict.fromkeys(names))[:_AT_MOST], days if days in RANGES else USUAL_RANGE
    )


def _stem(asked: AskedSeries) -> str:
    """A file's name of the dishes', in letters that every system takes."""
    text = "_".join(asked.dishes[:3])
    kept = "".join(one if one.isascii() and one.isalnum() else "-" for one in text).strip("-")
    return f"series-{kept[:60] or 'dishes'}"


def _file(content: bytes, media_type: str, name: str, *, is_shown: bool = False) -> Response:
    how = "inline" if is_shown else "attachment"
    headers = {"content-disposition": f'{how}; filename="{name}"', "cache-control": "no-store"}
    return Response(content, media_type=media_type, headers=headers)
