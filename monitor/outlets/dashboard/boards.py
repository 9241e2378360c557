"""All dishes at once: cards, plates as maps, and the screen on a laboratory's wall.

What is the same for every reader is worked out once and kept until the record has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from monitor.config import Config
from monitor.culture import Alert
from monitor.outlets.answer_links import dish_page
from monitor.outlets.dashboard.asking import whole
from monitor.outlets.dashboard.cards import STATUS, card_of, kind_of
from monitor.outlets.dashboard.choosing import ORDERS, STATES, Choice, plate_of
from monitor.outlets.dashboard.facts import Facts
from monitor.outlets.dashboard.kept import Kept
from monitor.outlets.dashboard.plate_maps import SCALES, maps_of
from monitor.outlets.wording import percent, where_of
from monitor.record.overviews import DishOverview, in_order
from monitor.record.store import Store

CARDS = 96
LINE_DAYS = 7.0
LINE_POINTS = 200
MOST_ALERTS = 2_000
# For so long the words "3 min ago" may stand.
_HOLDS_S = 30
_LAST_PAGE = 10_000


class Rendering(Protocol):
    """Fills a template, for one reader or as a piece that all share."""

    def page(self, request: Request, name: str, facts: dict[str, Any]) -> Response: ...

    def piece(self, name: str, facts: dict[str, Any]) -> Markup: ...


class Boards:
    def __init__(
        self,
        config: Config,
        store: Store,
        facts: Facts,
        clock: Callable[[], datetime],
        rendering: Rendering,
    ) -> None:
        self._config, self._store, self._facts = config, store, facts
        self._clock, self._rendering = clock, rendering
        self._kept = Kept(400)

    # --- pages ---------------------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        now, choice = self._clock(), Choice.of(request.query_params)
        page = whole(request, "page", most=_LAST_PAGE)
        ended = request.query_params.get("ended") == "1"
        key = "cards", choice, page, ended
        shown = self._once(key, now, lambda: self._cards(choice, page, now, ended=ended))
        return self._rendering.page(
            request,
            "overview",
            self._facts.frame(now)
            | self._facts.silences(now)
            | shown
            | self._offers(choice, now, ended=ended)
            | {"title": "Dishes that have ended" if ended else "Dishes", "page": page},
        )

    def plates(self, request: Request) -> Response:
        return self._map(request, "plates", "Plates")

    def wall(self, request: Request) -> Response:
        return self._map(request, "wall", "Wall screen")

    def changes(self, request: Request) -> Response:
        """Another word once there is something new to see; pages ask for it in between."""
        return JSONResponse({"mark": self._store.changes.mark()})

    def _map(self, request: Request, name: str, title: str) -> Response:
        now, choice = self._clock(), Choice.of(request.query_params)
        by = request.query_params.get("by", "fraction")
        by = by if by in SCALES else "fraction"
        shown = self._once(("map", choice, by), now, lambda: self._drawn_map(choice, by, now))
        facts = self._facts.frame(now) | shown | self._offers(choice, now)
        counts = self._once(("counts",), now, lambda: self._store.overviews.counts())
        return self._rendering.page(
            request,
            name,
            facts
            | {
                "title": title, "by": by, "counts": counts,
                "scales": [(key, one.title) for key, one in SCALES.items()],
            },
        )  # fmt: skip

    # --- what they show ------------------------------------------------------------------------

    def dishes(self, now: datetime, *, ended: bool = False) -> list[DishOverview]:
        """All of them, without series and picture."""
        found: list[DishOverview] = self._once(
            ("dishes", ended), now, lambda: self._store.glances.dishes(ended=ended)
        )
        return found

    def alerts(self, now: datetime) -> dict[str, list[Alert]]:
        """The open ones by dish, oldest first; those of no dish under an empty name."""

        def read() -> dict[str, list[Alert]]:
            found: dict[str, list[Alert]] = {}
            for alert in reversed(self._store.overviews.alerts(limit=MOST_ALERTS, is_open=True)):
                found.setdefault(alert.dish, []).append(alert)
            return found

        by_dish: dict[str, list[Alert]] = self._once(("alerts",), now, read)
        return by_dish

    def plate_maps(self, choice: Choice, by: str, now: datetime) -> list[dict[str, Any]]:
        return maps_of(choice(self.dishes(now)), self.alerts(now), by, now)

    def _once(self, key: tuple[object, ...], now: datetime, make: Callable[[], Any]) -> Any:
        held = int(now.timestamp()) // _HOLDS_S
        return self._kept.get((*key, held, self._store.changes.mark()), make)

    def _cards(self, choice: Choice, page: int, now: datetime, *, ended: bool) -> dict[str, Any]:
        chosen = choice(self.dishes(now, ended=ended))
        since = now - timedelta(days=LINE_DAYS)
        alerts = self.alerts(now)
        shown = self._store.glances.drawn(
            chosen[page * CARDS : (page + 1) * CARDS], since=since, points=LINE_POINTS
        )
        cards = [card_of(self._config, one, alerts.get(one.name, ()), since, now) for one in shown]
        return {
            "counts": self._store.overviews.counts(),
            "cards": self._rendering.piece("_cards", {"cards": cards}),
            "found": len(chosen),
            "has_more": len(chosen) > (page + 1) * CARDS,
        }

    def _drawn_map(self, choice: Choice, by: str, now: datetime) -> dict[str, Any]:
        chosen = choice(self.dishes(now))
        maps = maps_of(chosen, self.alerts(now), by, now)
        facts = {"maps": maps, "scale": SCALES[by]}
        return {
            "found": len(chosen),
            "maps": self._rendering.piece("_maps", facts),
            "worst": [_in_short(one) for one in choice(chosen)[:12]
                      if kind_of(one) in ("critical", "warning", "above")],
        }  # fmt: skip

    def _offers(self, choice: Choice, now: datetime, *, ended: bool = False) -> dict[str, Any]:
        """What a reader may choose from."""
        dishes = self.dishes(now, ended=ended)
        return {
            "choice": choice,
            "query": urlencode(choice.query),
            "ended": ended,
            "all": len(dishes),
            "orders": list(ORDERS.items()),
            "states": list(STATES.items()),
            "plates": _names(plate_of(one) for one in dishes),
            "sources": _names(one.source for one in dishes),
        }


def _names(found: Any) -> Sequence[str]:
    return sorted({name for name in found if name}, key=in_order)


def _in_short(one: DishOverview) -> Mapping[str, str]:
    share = None if one.last is None else one.last.differentiated_fraction
    return {
        "where": where_of(one.name),
        "page": dish_page("", one.name),
        "kind": kind_of(one),
        "status": STATUS[kind_of(one)],
        "fraction": "–" if share is None else percent(share),
    }
