"""How mails and pages say numbers, times and names. Text from captures becomes a harmless line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from monitor.culture import AlertTopic, DishStatus, Reading, RemovalPlan
from monitor.decisions.alert_rules import notice_words

_LONGEST_NAME = 80
STATUS_WORDS = {
    DishStatus.UNKNOWN: "nothing to judge yet",
    DishStatus.FRESHLY_PASSAGED: "freshly passaged",
    DishStatus.UNDIFFERENTIATED: "undifferentiated",
    DishStatus.ABOVE_LIMIT: "above the limit, not yet confirmed",
    DishStatus.DIFFERENTIATING: "differentiating",
}
_COMPARE_WITH = timedelta(hours=12)


class _Point(Protocol):
    @property
    def at(self) -> datetime: ...

    @property
    def differentiated_fraction(self) -> float | None: ...


def notice_headline(topic: AlertTopic, fraction: float | None, *, is_over: bool) -> str | None:
    """What a notice on a dish is about, with the share where that belongs to it; None for others"""
    words = notice_words(topic, is_over=is_over)
    if words is None or fraction is None or words.endswith("?"):
        return words
    if topic is AlertTopic.PLEASE_LOOK and not is_over:
        return f"{words}, reads {percent(fraction)} differentiated"
    return f"{words}, {percent(fraction)} differentiated"


def judged_from(moment: datetime | None, zone: ZoneInfo) -> str | None:
    """Of a dish that is freshly passaged, what people are told; None of any other."""
    if moment is None:
        return None
    return f"freshly passaged: judged from {local(moment, zone)} on"


def change(readings: Sequence[_Point], over: timedelta = _COMPARE_WITH) -> str | None:
    """``+6 points in 12 h``, against the reading nearest to so long before the last one."""
    known = [one for one in readings if one.differentiated_fraction is not None]
    if len(known) < 2 or readings[-1] is not known[-1]:
        return None
    last = known[-1]
    earlier = min(known[:-1], key=lambda one: abs(last.at - one.at - over))
    passed = last.at - earlier.at
    if passed <= timedelta():
        return None
    assert last.differentiated_fraction is not None
    assert earlier.differentiated_fraction is not None
    rise = last.differentiated_fraction - earlier.differentiated_fraction
    if abs(rise) < 0.0005:
        return f"unchanged in {duration(passed)}"
    return f"{'+' if rise > 0 else '−'}{points(abs(rise))} in {duration(passed)}"


def points(share: float) -> str:
    points = share * 100
    number = f"{points:.0f}" if points >= 0.95 else f"{points:.1f}"
    return f"{number} point" if number == "1" else f"{number} points"


def duration(passed: timedelta) -> str:
    hours = passed.total_seconds() / 3600
    if hours < 0.95:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.0f} h" if hours < 47.5 else f"{hours / 24:.0f} days"


def plural_days(passed: timedelta) -> str:
    """``7 days``, ``12 h``"""
    days = passed.total_seconds() / 86_400
    return counted(round(days), "day") if days >= 0.95 else duration(passed)


def ago(passed: timedelta) -> str:
    """``just now``, ``3 h ago``; of what is to come, ``in 3 h``"""
    if abs(passed) < timedelta(minutes=1):
        return "just now"
    return f"{duration(passed)} ago" if passed > timedelta() else f"in {duration(-passed)}"


def percent(fraction: float | None) -> str:
    if fraction is None:
        return "undefined"
    percent = fraction * 100
    return f"{percent:.1f} %" if 0 < percent < 9.95 and percent % 1 else f"{percent:.0f} %"


def removal_area(plan: RemovalPlan) -> str:
    """What a plan's hits remove, which is less than its regions cover."""
    if plan.covered_um2 is None:
        return f"{square_mm(plan.area_um2)} in all"
    remove = "removes" if len(plan.visits) == 1 else "remove"
    return (
        f"{counted(len(plan.visits), 'hit')} that {remove} {square_mm(plan.covered_um2)} of their "
        f"{square_mm(plan.area_um2)}"
    )


def square_mm(area_um2: float | None) -> str:
    if area_um2 is None:
        return ""
    area_mm2 = area_um2 / 1e6
    return f"{area_mm2:.1f} mm²" if area_mm2 >= 9.95 else f"{area_mm2:.2g} mm²"


def pixel_size_words(reading: Reading) -> str | None:
    """The pixel size that a reading rests on, and whether it is known; None where there is none."""
    if reading.pixel_size_um is not None:
        return f"{reading.pixel_size_um:.3g} µm/px"
    if reading.assumed_pixel_size_um is not None:
        return f"about {reading.assumed_pixel_size_um:.2g} µm/px, assumed; areas cannot be given"
    return None


def counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def local(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} ({zone.key})"


def brief(moment: datetime, zone: ZoneInfo) -> str:
    """``23 Nov, 12:00``"""
    local = moment.astimezone(zone)
    return f"{local.day} {local:%b, %H:%M}"


def where_of(dish: str) -> str:
    """``A1 of 3500003816``"""
    well, plate = well_and_plate(shown_name(dish))
    return f"{well} of {plate}" if plate else well


def well_and_plate(dish: str) -> tuple[str, str | None]:
    plate, slash, well = dish.rpartition("/")
    return (well, plate) if slash and plate and well else (dish, None)


def shown_name(dish: str) -> str:
    text = clean(dish)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def clean(text: str) -> str:
    """One line without control, invisible or broken characters.

    Dish names come from file names: a newline in one would add headers to the mail, and marks that
    turn the direction of writing would disguise it.
    """
    letters = (
        " " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in text
        if unicodedata.category(letter) not in ("Cf", "Cs", "Cn", "Co")
    )
    return " ".join("".join(letters).split())


def plain_id(message_id: str) -> str:
    text = re.sub(r"[^A-Za-z0-9.@_+-]+", "-", message_id.strip().strip("<>"))
    return text if "@" in text else f"{text}@colonywatch"
