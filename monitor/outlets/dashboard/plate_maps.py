"""Plates as maps: a cell a well, coloured by what is asked for, with the number or word in it.

Colours come in steps, which the style sheet names; a cell never says anything by its colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from monitor.culture import Alert, Severity
from monitor.culture.doubt_words import interval_words
from monitor.culture.plates import KINDS, PlateKind, place_of
from monitor.outlets.answer_links import dish_page
from monitor.outlets.dashboard.cards import STATUS, kind_of
from monitor.outlets.dashboard.choosing import plate_of
from monitor.outlets.wording import ago, clean, duration, percent, shown_name, well_and_plate
from monitor.record.overviews import DishOverview, in_order

_SHARES = (0.02, 0.05, 0.10, 0.20, 0.40)
_CONFLUENCES = (0.10, 0.25, 0.50, 0.75, 0.90)
_AGES_H = (2, 6, 12, 24, 48)


@dataclass(frozen=True)
class Shade:
    """step : of the colours, a name in the style sheet; text : what stands in the cell"""

    step: str
    text: str
    words: str


@dataclass(frozen=True)
class Scale:
    """What a map can be coloured by.

    shade : of a dish with its open alerts at a time
    legend : (step, words) of every step
    """

    title: str
    shade: Callable[[DishOverview, Sequence[Alert], datetime], Shade]
    legend: tuple[tuple[str, str], ...]


def _step(value: float, bounds: Sequence[float]) -> str:
    return f"s{sum(value >= bound for bound in bounds)}"


def _by_share(one: DishOverview, alerts: Sequence[Alert], now: datetime) -> Shade:
    value = None if one.last is None else one.last.differentiated_fraction
    if value is None:
        return Shade("none", "–", "no cells" if one.last else "no scan yet")
    return Shade(_step(value, _SHARES), _points(value), f"{percent(value)} differentiated")


def _by_confluence(one: DishOverview, alerts: Sequence[Alert], now: datetime) -> Shade:
    value = None if one.last is None else one.last.confluence
    if value is None:
        return Shade("none", "–", "confluence unknown" if one.last else "no scan yet")
    return Shade(_step(value, _CONFLUENCES), _points(value), f"{percent(value)} confluent")


def _by_doubt(one: DishOverview, alerts: Sequence[Alert], now: datetime) -> Shade:
    last = one.last
    if last is None:
        return Shade("none", "–", "no scan yet")
    if last.in_doubt:
        return Shade("s5", "?", "in doubt: " + ", ".join(clean(why) for why in last.why_in_doubt))
    if last.in_doubt is None:
        return Shade("s2", "·", "its model cannot tell how far it may be trusted")
    ends = interval_words(last.doubt)
    return Shade("s0", "✓", "not in doubt" + (f", 90 % interval {ends}" if ends else ""))


def _by_age(one: DishOverview, alerts: Sequence[Alert], now: datetime) -> Shade:
    if one.last is None:
        return Shade("none", "–", "no scan yet")
    age = max(now - one.last.at, timedelta())
    hours = age.total_seconds() / 3600
    return Shade(_step(hours, _AGES_H), duration(age), f"last scan {ago(now - one.last.at)}")


def _by_alert(one: DishOverview, alerts: Sequence[Alert], now: datetime) -> Shade:
    worst = {alert.severity for alert in alerts}
    if kind_of(one) == "critical" or Severity.CRITICAL in worst:
        return Shade("critical", "‼", "critical")
    if kind_of(one) in ("warning", "above") or Severity.WARNING in worst:
        return Shade("warning", "▲", "differentiating or an open alert")
    if worst:
        return Shade("asked", "?", "somebody is asked to look")
    return Shade("fine", "✓", "no open alert")


def _ranges(bounds: Sequence[float], unit: str, factor: float = 1.0) -> tuple[tuple[str, str], ...]:
    edges = [f"{bound * factor:g}" for bound in bounds]
    words = [f"below {edges[0]} {unit}"]
    words += [f"{low} to {high} {unit}" for low, high in pairwise(edges)]
    words += [f"from {edges[-1]} {unit}"]
    return tuple((f"s{number}", text) for number, text in enumerate(words))


SCALES = {
    "fraction": Scale("differentiated share", _by_share, _ranges(_SHARES, "%", 100)),
    "confluence": Scale("confluence", _by_confluence, _ranges(_CONFLUENCES, "%", 100)),
    "doubt": Scale(
        "doubt", _by_doubt, (("s0", "✓ not in doubt"), ("s2", "· cannot be told"),
                             ("s5", "? in doubt")),
    ),
    "age": Scale("age of the last scan", _by_age, _ranges(_AGES_H, "h")),
    "alert": Scale(
        "alerts", _by_alert,
        (("fine", "✓ none"), ("asked", "? asked to look"), ("warning", "▲ alert"),
         ("critical", "‼ critical")),
    ),
}  # fmt: skip
"""By the word that stands in an address."""


def maps_of(
    dishes: Sequence[DishOverview], alerts: Mapping[str, Sequence[Alert]], by: str, now: datetime
) -> list[dict[str, Any]]:
    """Each plate with its wells, by name; dishes that are no wells of a plate come last, in one.

    alerts : the open ones of each dish; by : a key of `SCALES`

    A plate has `kind`, `columns` (numbers) and `rows`: (letter, cells), a cell None where no dish
    is on record. What is no plate has `cells` instead.
    """
    shade = SCALES[by].shade

    def cell(one: DishOverview) -> dict[str, Any]:
        shown = shade(one, alerts.get(one.name, ()), now)
        kind = kind_of(one)
        return {
            "name": one.name,
            "well": well_and_plate(shown_name(one.name))[0],
            "page": dish_page("", one.name),
            "step": shown.step,
            "text": shown.text,
            "words": f"{shown.words}; {STATUS[kind]}",
            "kind": kind,
            "has_alert": bool(alerts.get(one.name)),
        }

    plates: dict[str, list[DishOverview]] = {}
    for one in dishes:
        plates.setdefault(plate_of(one) if smallest_kind([_well(one)]) else "", []).append(one)
    alone = sorted(plates.pop("", []), key=lambda one: in_order(one.name))
    found = []
    for name in sorted(plates, key=in_order):
        kind = smallest_kind([_well(one) for one in plates[name]])
        assert kind is not None, "each of its wells is one of the largest plate"
        found.append({"name": clean(name), "kind": kind, **_grid(KINDS[kind], plates[name], cell)})
    if alone:
        found.append({"name": "", "kind": "dishes", "cells": [cell(one) for one in alone]})
    return found


def smallest_kind(wells: Sequence[str]) -> str | None:
    """The smallest usual plate that has all these wells; None where none has."""
    for name, kind in KINDS.items():
        if kind.rows * kind.columns > 1 and all(_has(name, well) for well in wells):
            return name
    return None


def _has(kind: str, well: str) -> bool:
    try:
        place_of(well, kind)
    except ValueError:
        return False
    return True


def _grid(
    kind: PlateKind,
    dishes: Sequence[DishOverview],
    cell: Callable[[DishOverview], dict[str, Any]],
) -> dict[str, Any]:
    """Of several lines of one well, the one with the newest scan."""
    by_well: dict[str, DishOverview] = {}
    for one in sorted(dishes, key=lambda one: one.last is not None and one.last.at.timestamp()):
        by_well[_well(one)] = one
    letters = [_letter(row) for row in range(kind.rows)]
    columns = range(1, kind.columns + 1)
    return {
        "columns": list(columns),
        "rows": [
            (letter, [cell(by_well[f"{letter}{column}"]) if f"{letter}{column}" in by_well else None
                      for column in columns])
            for letter in letters
        ],
    }  # fmt: skip


def _letter(row: int) -> str:
    return chr(ord("A") + row) if row < 26 else "A" + chr(ord("A") + row - 26)


def _well(one: DishOverview) -> str:
    return one.name.rpartition("/")[2]


def _points(share: float) -> str:
    """Percent without its sign: there is little room."""
    return f"{100 * share:.1f}" if 0 < share < 0.0095 else f"{100 * share:.0f}"
