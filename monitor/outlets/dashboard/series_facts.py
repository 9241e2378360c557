"""Series of one dish or several, as pages, plots and files tell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from monitor.config import Config
from monitor.culture import DishTimeline, Reading
from monitor.culture.doubt_words import interval_words
from monitor.errors import UsageError
from monitor.outlets.dashboard.facts import headline
from monitor.outlets.dashboard.viewer_facts import look_page
from monitor.outlets.spreadsheets import as_csv, plain_cell
from monitor.outlets.wording import brief, clean, counted, local, percent, shown_name, where_of
from monitor.record.store import Store

MOST_DISHES = 12
RANGES = {"3": "3 days", "14": "14 days", "90": "90 days", "365": "a year", "0": "all"}
USUAL_RANGE = "14"
_MOST_ROWS = 400
_CHOICES = 1000
_COLUMNS = (
    "dish", "scanned_at", "differentiated_fraction", "interval_low", "interval_high",
    "interval_calibrated", "in_doubt", "why_in_doubt", "confluence", "colonies",
    "captures", "model_sha256", "reading",
)  # fmt: skip


@dataclass(frozen=True)
class AskedSeries:
    """dishes : their names as they were typed; days : a key of RANGES"""

    dishes: tuple[str, ...]
    days: str = USUAL_RANGE

    def address(self, page: str, **changes: Any) -> str:
        one = replace(self, **changes)
        query = [*(("name", name) for name in one.dishes), ("days", one.days)]
        return f"{page}?{urlencode(query, errors='surrogateescape')}"


class SeriesFacts:
    def __init__(self, config: Config, store: Store) -> None:
        self._config, self._store = config, store

    def stories(self, asked: AskedSeries, now: datetime) -> list[DishTimeline]:
        """Raises UsageError where a dish is not known, or there are too many."""
        if not asked.dishes:
            raise UsageError("name a dish: /series?name=...")
        if len(asked.dishes) > MOST_DISHES:
            raise UsageError(f"at most {MOST_DISHES} dishes fit into one plot")
        days = float(asked.days)
        newest = [self._store.dishes.newest_at(name) for name in asked.dishes]
        until = max((at for at in newest if at is not None), default=now)
        since = until - timedelta(days=days) if days else None
        return [self._store.timelines.of(name, since=since) for name in asked.dishes]

    def zone(self, stories: Sequence[DishTimeline]) -> ZoneInfo:
        zones = {self._config.zone_of(one.line.source).key for one in stories}
        return ZoneInfo(zones.pop()) if len(zones) == 1 else self._config.zone_of()

    # --- the page ------------------------------------------------------------------------------

    def page(self, asked: AskedSeries, now: datetime) -> dict[str, Any]:
        stories = self.stories(asked, now)
        zone = self.zone(stories)
        names = tuple(one.line.name for one in stories)
        rows = sorted(
            ((reading, story) for story in stories for reading in story.readings),
            key=lambda row: row[0].at,
            reverse=True,
        )
        known = self._store.views.names(limit=_CHOICES)
        return {
            "title": "Series of " + ", ".join(map(where_of, names)),
            "zone": zone.key,
            "dishes": [
                {
                    "name": where_of(name),
                    "page": look_page(name, None),
                    "without": asked.address(
                        "/series", dishes=tuple(one for one in names if one != name)
                    )
                    if len(names) > 1
                    else None,
                    "scans": counted(len(story.readings), "scan"),
                }
                for name, story in zip(names, stories, strict=True)
            ],
            "names": names,
            "others": [name for name in known if name not in names],
            "has_room": len(names) < MOST_DISHES,
            "days": asked.days,
            "ranges": [
                (words, asked.address("/series", days=days), days == asked.days)
                for days, words in RANGES.items()
            ],
            "plot": asked.address("/series/plot.png"),
            "files": [
                (kind, asked.address(page))
                for kind, page in (
                    ("CSV", "/series.csv"),
                    ("PNG", "/series/plot.png"),
                    ("SVG", "/series/plot.svg"),
                )
            ],
            "data": asked.address("/series.json"),
            "rows": [_row(reading, story, zone) for reading, story in rows[:_MOST_ROWS]],
            "more": max(0, len(rows) - _MOST_ROWS),
            "events": [
                {"at": local(at, zone), "dish": where_of(name), "words": words}
                for at, name, words in sorted(_events(stories), reverse=True)[:_MOST_ROWS]
            ],
        }

    # --- for the plot --------------------------------------------------------------------------

    def document(self, asked: AskedSeries, now: datetime) -> dict[str, Any]:
        """Each dish in columns, times in seconds since 1970."""
        stories = self.stories(asked, now)
        return {
            "zone": self.zone(stories).key,
            "dishes": [self._columns(one, asked.days != "0") for one in stories],
        }

    def _columns(self, story: DishTimeline, bounded: bool) -> dict[str, Any]:
        readings, name = story.readings, story.line.name
        limits = self._config.decisions.limits_for(name, story.line.source, story.line.label)
        former = self._store.views.former(name, since=story.since if bounded else None)
        return {
            "name": name,
            "shown": where_of(name),
            "page": look_page(name, None),
            "reading": [one.id for one in readings],
            "at": [round(one.at.timestamp()) for one in readings],
            "fraction": [_short(one.differentiated_fraction) for one in readings],
            "low": [_short(one.doubt.interval and one.doubt.interval[0]) for one in readings],
            "high": [_short(one.doubt.interval and one.doubt.interval[1]) for one in readings],
            "confluence": [_short(one.confluence) for one in readings],
            "doubts": {
                str(number): [clean(why) for why in one.why_in_doubt]
                for number, one in enumerate(readings)
                if one.in_doubt
            },
            "limits": {
                "alert": limits.raise_above,
                "clear": limits.clear_below,
                "critical": limits.critical_above,
            },
            "events": [
                {"at": round(at.timestamp()), "words": words} for at, _, words in _events([story])
            ],
            "former": [
                {
                    "model": f"{clean(model)} {sha256[:8]}",
                    "at": [round(at.timestamp()) for at, _ in points],
                    "fraction": [_short(fraction) for _, fraction in points],
                }
                for (model, sha256), points in former.items()
            ],
        }

    # --- files ---------------------------------------------------------------------------------

    def csv(self, asked: AskedSeries, now: datetime) -> bytes:
        """With a point as the decimal mark, in the form that programs read."""
        rows: list[tuple[str, ...]] = [_COLUMNS]
        for story in self.stories(asked, now):
            rows += [_cells(one, story) for one in story.readings]
        return as_csv(rows, separator=",", line_end="\r\n").encode("utf-8-sig", "replace")

    def plot(self, asked: AskedSeries, now: datetime, form: Literal["png", "svg"]) -> bytes:
        # With it comes matplotlib, which takes a second to load.
        from monitor.outlets.figures.several import plot_several

        stories = self.stories(asked, now)
        limits = {
            self._config.decisions.limits_for(
                one.line.name, one.line.source, one.line.label
            ).raise_above
            for one in stories
        }
        return plot_several(
            [(shown_name(one.line.name), one) for one in stories],
            raise_above=limits.pop() if len(limits) == 1 else None,
            zone=self.zone(stories),
            form=form,
        )


def _row(reading: Reading, story: DishTimeline, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "dish": where_of(story.line.name),
        "at": brief(reading.at, zone),
        "page": look_page(story.line.name, reading.id),
        "fraction": percent(reading.differentiated_fraction)
        if reading.differentiated_fraction is not None
        else "no cells",
        "interval": interval_words(reading.doubt) or "–",
        "confluence": "–" if reading.confluence is None else percent(reading.confluence),
        "colonies": reading.colonies,
        "doubts": ", ".join(map(clean, reading.why_in_doubt)),
    }


def _events(stories: Sequence[DishTimeline]) -> list[tuple[datetime, str, str]]:
    """What happened and what people did: (when, dish, words)."""
    found = []
    for story in stories:
        name = story.line.name
        for alert in story.alerts:
            found.append((alert.at, name, f"alert: {headline(alert)}"))
            if alert.acknowledged_at is not None:
                note = f": {clean(alert.note)}" if alert.note else ""
                who = clean(alert.acknowledged_by or "somebody")
                found.append((alert.acknowledged_at, name, f"{who} knows of it{note}"))
        found += [
            (one.at, name, f"{clean(one.who)}: {clean(one.text)}") for one in story.annotations
        ]
        for moment, words in ((story.line.began_at, "begun"), (story.line.ended_at, "ended")):
            if moment is not None and (story.since is None or moment >= story.since):
                found.append((moment, name, words))
    return sorted(found)


def _cells(reading: Reading, story: DishTimeline) -> tuple[str, ...]:
    interval = reading.doubt.interval or (None, None)
    return tuple(
        plain_cell(value)
        for value in (
            story.line.name,
            reading.at.isoformat(),
            reading.differentiated_fraction,
            *interval,
            reading.doubt.calibrated if reading.doubt.interval else None,
            reading.in_doubt,
            "; ".join(reading.why_in_doubt),
            reading.confluence,
            reading.colonies,
            reading.captures,
            reading.model_sha256,
            reading.id,
        )
    )


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)
