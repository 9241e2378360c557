"""What the pages on scans print, and what their viewer is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import sqrt
from typing import Any
from urllib.parse import urlencode
from zlib import crc32
from zoneinfo import ZoneInfo

from monitor.config import Config
from monitor.culture import Reading
from monitor.culture.doubt_words import interval_words, reason_words
from monitor.errors import UsageError
from monitor.outlets.answer_links import dish_page
from monitor.outlets.dashboard.words_of_layers import LAYER_WORDS, TONE_WORDS
from monitor.outlets.viewing.captures import Captures
from monitor.outlets.viewing.layers import Layer
from monitor.outlets.viewing.scenes import Scene, Scenes
from monitor.outlets.viewing.still import Look
from monitor.outlets.viewing.tiles import TILE_PX, size_at
from monitor.outlets.wording import (
    brief,
    clean,
    counted,
    local,
    percent,
    shown_name,
    square_mm,
    where_of,
)
from monitor.record.store import Store
from monitor.record.views import ColonyAt, ViewedField

MOST_STOPS = 20_000
USUAL_LOOK = Look()
_COLONIES_SHOWN = 24
_COLONIES_ASKED = 240
_COLONIES_LISTED = 24
_AROUND_A_COLONY = 1.9


@dataclass(frozen=True)
class Asked:
    """What a reader wants to see.

    reading : None = of the last scan
    field : by its name; None = all of them
    other : the reading to compare with
    how : "one", "side" by side, or as a "wipe"
    """

    dish: str
    reading: int | None = None
    field: str | None = None
    other: int | None = None
    how: str = "one"
    look: Look = USUAL_LOOK

    def page(self, **changes: Any) -> str:
        """The address of the same with some of it changed."""
        one = replace(self, **changes)
        return look_page(
            one.dish, one.reading, field=one.field, other=one.other, how=one.how, look=one.look
        )


def look_page(
    dish: str,
    reading: int | None,
    *,
    field: str | None = None,
    other: int | None = None,
    how: str = "one",
    look: Look | None = None,
) -> str:
    """The address of a page on a scan."""
    query: dict[str, object] = {"name": dish}
    if reading is not None:
        query["reading"] = reading
    if field is not None:
        query["field"] = field
    if other is not None:
        query |= {"with": other, "how": how}
    if look is not None and look != USUAL_LOOK:
        query |= {
            "layer": look.layer.value,
            "opacity": round(look.opacity * 100),
            "tone": look.tone.value,
        }
    return f"/look?{urlencode(query, errors='surrogateescape')}"


class ViewerFacts:
    def __init__(self, config: Config, store: Store, scenes: Scenes, captures: Captures) -> None:
        self._config, self._store = config, store
        self._scenes, self._captures = scenes, captures

    def zone_of(self, dish: str) -> ZoneInfo:
        """Raises UsageError for an unknown dish."""
        return self._config.zone_of(self._store.lines.line(dish).source)

    # --- a scan --------------------------------------------------------------------------------

    def look(self, asked: Asked, now: datetime) -> dict[str, Any]:
        """Raises UsageError for a dish, a reading or a field that is not known."""
        zone = self.zone_of(asked.dish)
        last = self._store.views.nearest(asked.dish, now + timedelta(days=36_500))
        if last is None:
            raise UsageError(f"{shown_name(asked.dish)}: no scan of it has been read yet")
        asked = replace(asked, reading=asked.reading or last)
        assert asked.reading is not None
        scene = self._scenes.scene(asked.reading, self._only(asked.reading, asked.field))
        if scene.scan.dish != self._store.lines.line(asked.dish).name:
            raise UsageError(
                f"{shown_name(asked.dish)}: reading {asked.reading} is not one of this dish"
            )
        scan, reading = scene.scan, scene.scan.reading
        first = self._store.views.nearest(asked.dish, reading.at - timedelta(days=36_500))
        other = self._other(asked, zone)
        names = [one.name for one in scan.fields if one.has_field_name]
        return {
            "title": f"{where_of(asked.dish)}, {brief(reading.at, zone)}",
            "dish": where_of(asked.dish),
            "dish_page": dish_page("", scan.dish),
            "asked": asked,
            "at": local(reading.at, zone),
            "at_input": f"{reading.at.astimezone(zone):%Y-%m-%dT%H:%M}",
            "zone": zone.key,
            "links": {
                name: None if id_ is None or id_ == asked.reading else asked.page(reading=id_)
                for name, id_ in (
                    ("first", first),
                    ("before", scan.before),
                    ("after", scan.after),
                    ("last", last),
                )
            },
            "numbers": {"before": scan.before, "first": first},
            "picture": self.picture(scene, asked.look, asked.field),
            "facts": _facts_of(reading),
            "doubts": [clean(why) for why in reading.why_in_doubt],
            "laid": self._laid(scene),
            "fields": self._fields(scene, asked),
            "field_links": [(name, asked.page(field=name)) for name in names],
            "whole": asked.page(field=None) if asked.field is not None else None,
            "unread": [(one.name, one.file, one.words) for one in scene.unread],
            "versions": self._versions(scene, asked, zone),
            "other": other,
            **_comparisons(asked, {"the scan before": scan.before, "the first scan": first}),
            "layers": [(one.value, LAYER_WORDS[one]) for one in Layer],
            "tones": [(one.value, words) for one, words in TONE_WORDS.items()],
            "colonies": self._colonies(scan.dish, reading),
            "series_page": f"/series?{urlencode({'name': scan.dish}, errors='surrogateescape')}",
        }

    def _only(self, reading: int, name: str | None) -> int | None:
        """Raises UsageError where the reading has no field of this name."""
        if name is None:
            return None
        found = self._scenes.field_called(reading, name)
        if found is None:
            raise UsageError(f"{clean(name)}: there is no field of this name in this scan")
        return found

    def _other(self, asked: Asked, zone: ZoneInfo) -> dict[str, Any] | None:
        if asked.other is None:
            return None
        whole = self._scenes.scene(asked.other)
        only = None if asked.field is None else self._scenes.field_called(asked.other, asked.field)
        reading = whole.scan.reading
        found = {"reading": asked.other, "at": local(reading.at, zone), "facts": _facts_of(reading)}
        if asked.field is not None and only is None:
            return found | {"picture": None}
        scene = self._scenes.scene(asked.other, only)
        return found | {"picture": self.picture(scene, asked.look, asked.field)}

    def picture(self, scene: Scene, look: Look, field_name: str | None) -> dict[str, Any]:
        """A picture of a scene that needs no JavaScript."""
        width, height = scene.canvas.width, scene.canvas.height
        shown = min(1.0, 1200 / max(width, height))
        query: dict[str, object] = {
            "reading": scene.scan.reading.id,
            "layer": look.layer.value,
            "opacity": round(look.opacity * 100),
            "tone": look.tone.value,
            "of": stamp(scene),
        }
        if scene.only is not None:
            query["only"] = scene.only
        return {
            "address": f"/look.jpg?{urlencode(query | {'width': 1200})}",
            "large": f"/look.jpg?{urlencode(query | {'width': 2400})}",
            "width": max(1, round(width * shown)),
            "height": max(1, round(height * shown)),
            "words": ("Field " + clean(field_name)) if field_name else _counted_fields(scene),
        }

    def _laid(self, scene: Scene) -> str | None:
        if len(scene.fields) < 2:
            return None
        words = f"The fields lie {scene.canvas.laid}."
        return words if scene.why_not_laid is None else f"{words} ({scene.why_not_laid})"

    def _fields(self, scene: Scene, asked: Asked) -> list[dict[str, Any]]:
        return [
            {
                "name": clean(one.name),
                "file": clean(one.path.name),
                "fraction": percent(one.differentiated_fraction)
                if one.differentiated_fraction is not None
                else "no cells",
                "interval": interval_words(one.doubt) or "–",
                "doubts": ", ".join(map(clean, (*one.doubts, *reason_words(one.doubt)))),
                "page": asked.page(field=one.name),
                "words": self._captures.why_not(one),
                "overlay": one.overlay is not None
                and (self._config.record.folder / one.overlay).is_file(),
                "labels": _labels_words(one, self._config),
            }
            for one in scene.scan.fields
            if scene.only is None or one.number == scene.only
        ]

    def _versions(self, scene: Scene, asked: Asked, zone: ZoneInfo) -> list[dict[str, Any]]:
        """Readings of the same scan, where there are several: by former models, of late fields."""
        versions = scene.scan.versions
        return [
            {
                "number": one.reading.version,
                "model": f"{clean(one.model_name)} {one.reading.model_sha256[:8]}",
                "made_at": local(one.made_at, zone),
                "counts": one.counts,
                "is_shown": one.reading.id == scene.scan.reading.id,
                "fraction": _amount(one.reading),
                "interval": interval_words(one.reading.doubt) or "–",
                "confluence": "–"
                if one.reading.confluence is None
                else percent(one.reading.confluence),
                "captures": one.reading.captures,
                "page": asked.page(reading=one.reading.id),
            }
            for one in versions
            if len(versions) > 1
        ]

    def _colonies(self, dish: str, reading: Reading) -> list[dict[str, Any]]:
        points = self._store.colonies.series(dish, since=reading.at, until=reading.at)
        largest = sorted(points, key=lambda one: -one.colony.area)[:_COLONIES_LISTED]
        return [
            {
                "number": one.colony.number,
                "area": _area(one.colony.area, reading),
                "fraction": percent(one.colony.differentiated_fraction),
                "page": colony_page(dish, one.colony.number),
            }
            for one in largest
        ]

    # --- what the viewer is told ---------------------------------------------------------------

    def stops(self, dish: str) -> dict[str, Any]:
        """Scans for a slider, in columns: one in a row each would be four times as long."""
        stops = self._store.views.stops(dish, limit=MOST_STOPS)
        zone = self.zone_of(dish)
        return {
            "dish": self._store.lines.line(dish).name,
            "zone": zone.key,
            "readings": [one.reading for one in stops],
            "at": [round(one.at.timestamp()) for one in stops],
            "fraction": [
                None
                if one.differentiated_fraction is None
                else round(one.differentiated_fraction, 4)
                for one in stops
            ],
            "in_doubt": [number for number, one in enumerate(stops) if one.in_doubt],
            "all": self._store.views.count(dish),
        }

    def scene(self, reading: int, only: int | None) -> dict[str, Any]:
        scene = self._scenes.scene(reading, only)
        canvas, scan = scene.canvas, scene.scan
        zone = self._config.zone_of(scan.source)
        halvings = 0
        while max(size_at(scene, halvings)) > TILE_PX:
            halvings += 1
        return {
            "reading": reading,
            "dish": scan.dish,
            "only": only,
            "at": local(scan.reading.at, zone),
            "time": round(scan.reading.at.timestamp()),
            "said": _line_of(scan.reading),
            "in_doubt": [clean(why) for why in scan.reading.why_in_doubt],
            "width": canvas.width,
            "height": canvas.height,
            "tile": TILE_PX,
            "halvings": halvings,
            "pixel_size_um": canvas.pixel_size_um,
            "to_stage": None if canvas.to_stage is None else canvas.to_stage.matrix,
            "camera_um": canvas.camera_um,
            "laid": self._laid(scene),
            "before": scan.before,
            "after": scan.after,
            "of": stamp(scene),
            "fields": [
                {
                    "name": clean(one.name),
                    "number": None if one.viewed is None else one.viewed.number,
                    "box": [one.placed.left, one.placed.top, one.placed.width, one.placed.height],
                    "scale": one.placed.scale,
                    "on_stage": one.placed.on_stage,
                    "words": one.words
                    or (None if one.viewed is None else self._captures.why_not(one.viewed)),
                    "doubts": []
                    if one.viewed is None
                    else [clean(why) for why in
                          (*one.viewed.doubts, *reason_words(one.viewed.doubt))],
                    "labels": None if one.viewed is None
                    else _labels_words(one.viewed, self._config),
                }
                for one in scene.fields
            ],
        }  # fmt: skip

    # --- a colony ------------------------------------------------------------------------------

    def colony(self, dish: str, number: int, now: datetime) -> dict[str, Any]:
        """Raises UsageError where no scan on record shows it."""
        zone = self.zone_of(dish)
        life = self._store.views.life(dish, number, scans=_COLONIES_ASKED)
        if not life.seen:
            raise UsageError(
                f"{shown_name(dish)}: no scan that is still on record shows a colony {number}"
            )
        step = -(-len(life.seen) // _COLONIES_SHOWN)
        shown = {*life.seen[::step], life.seen[-1]}
        side = _AROUND_A_COLONY * sqrt(max(one.colony.area for one in life.seen))
        rows = [
            {
                "at": brief(one.at, zone),
                "area": _area(one.colony.area, self._scenes.scene(one.reading).scan.reading)
                if one in shown
                else square_mm(one.colony.area),
                "fraction": percent(one.colony.differentiated_fraction),
                "is_cut": one.colony.is_cut,
                "came_from": ", ".join(map(str, one.colony.came_from)),
                "page": look_page(dish, one.reading),
                "square": self._square(one, side) if one in shown else None,
            }
            for one in life.seen
        ]
        return {
            "title": f"Colony {number} of {where_of(dish)}",
            "dish": where_of(dish),
            "dish_page": dish_page("", dish),
            "number": number,
            "rows": rows,
            "strip": [row for row in rows if row["square"]],
            "side": f"{side / 1000:.2f} mm"
            if self._scenes.scene(life.seen[-1].reading).canvas.pixel_size_um
            else f"{side:.0f} pixels",
            "looked": None
            if life.every == 1
            else f"Every {life.every}th of {counted(life.scans, 'scan')} was looked at.",
        }

    def _square(self, one: ColonyAt, side: float) -> str | None:
        """The address of a colony's surroundings in a scan; None where its place is not known."""
        only, frame = None, one.colony.frame
        if frame != "stage":
            only = self._field_of_frame(one.reading, frame)
            if only is None:
                return None
        scene = self._scenes.scene(one.reading, only)
        canvas = scene.canvas
        if frame == "stage":
            if canvas.to_stage is None:
                return None
            column, row = canvas.to_stage.inverse().apply([one.colony.centre])[0].tolist()
        else:
            unit = canvas.pixel_size_um or 1.0
            column, row = (value / unit for value in one.colony.centre)
        if not (0 <= column < canvas.width and 0 <= row < canvas.height):
            return None
        query: dict[str, object] = {
            "reading": one.reading,
            "x": round(column),
            "y": round(row),
            "side": max(8, round(side / (canvas.pixel_size_um or 1.0))),
            "of": stamp(scene),
        }
        if only is not None:
            query["only"] = only
        return f"/colony.jpg?{urlencode(query)}"

    def _field_of_frame(self, reading: int, frame: str) -> int | None:
        """Of a frame that is a field's own: ``field f1 1040x1392 1.6 um``, or ``... px``."""
        found = re.fullmatch(r"field (.*) \d+x\d+ (?:px|[^ ]+ um)", frame)
        fields = self._scenes.scene(reading).scan.fields
        if len(fields) == 1:
            return fields[0].number
        return None if found is None else self._scenes.field_called(reading, found[1])


def _comparisons(asked: Asked, others: dict[str, int | None]) -> dict[str, Any]:
    """others : in words, what a scan may be compared with"""
    return {
        "hows": [
            (how, words, asked.page(how=how))
            for how, words in (("side", "side by side"), ("wipe", "as a wipe"))
            if asked.other is not None
        ],
        "alone": asked.page(other=None, how="one"),
        "compare": [
            (words, asked.page(other=id_, how="side"))
            for words, id_ in others.items()
            if id_ is not None and id_ != asked.reading
        ],
    }


def colony_page(dish: str, number: int) -> str:
    query = urlencode({"name": dish, "number": number}, errors="surrogateescape")
    return f"/colony?{query}"


def stamp(scene: Scene) -> str:
    """Another one whenever tiles of the scene would be others."""
    places = repr((scene.canvas, [(one.name, one.words) for one in scene.fields]))
    return f"{scene.scan.reading.model_sha256[:6]}{crc32(places.encode('utf-8', 'replace')):08x}"


def _labels_words(field: ViewedField, config: Config) -> str | None:
    """Why there is nothing to lay over a field; None where there is."""
    if field.is_replaced:
        return "read again since then: overlays show the later reading, not this one"
    if field.label_map is None or not (config.record.folder / field.label_map).is_file():
        return "its label map is no longer kept"
    return None


def _amount(reading: Reading) -> str:
    fraction = reading.differentiated_fraction
    return "no cells" if fraction is None else percent(fraction)


def _line_of(reading: Reading) -> str:
    """The numbers of a scan in a line."""
    parts = [f"{_amount(reading)} differentiated"]
    if (interval := interval_words(reading.doubt)) is not None:
        parts[0] += f" ({interval})"
    if reading.confluence is not None:
        parts.append(f"confluence {percent(reading.confluence)}")
    parts.append(counted(reading.colonies, "colony", "colonies"))
    return ", ".join(parts)


def _facts_of(reading: Reading) -> list[tuple[str, str]]:
    return [
        ("Differentiated", _amount(reading)),
        ("90 % interval", interval_words(reading.doubt) or "–"),
        ("Confluence", "unknown" if reading.confluence is None else percent(reading.confluence)),
        ("Colonies", str(reading.colonies)),
        ("Fields", str(reading.captures)),
    ]


def _area(area: float, reading: Reading) -> str:
    return f"{area:.0f} px" if reading.pixel_size_um is None else square_mm(area)


def _counted_fields(scene: Scene) -> str:
    return counted(len(scene.scan.fields), "field")
