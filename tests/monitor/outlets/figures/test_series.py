import threading
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from monitor.config import DifferentiationConfig
from monitor.culture import (
    AlertKind,
    AlertTopic,
    Annotation,
    DishLine,
    DishTimeline,
    Doubt,
    DoubtReason,
    UnreadableCapture,
)
from monitor.outlets.figures.events import apart
from monitor.outlets.figures.series import plot_story
from monitor.outlets.figures.usual_range import usual_range
from tests.monitor.outlets.stories import alert, reading, series

LIMITS = DifferentiationConfig()
ZONE = ZoneInfo("Asia/Tokyo")
LINE_BGR = (0x00, 0x5E, 0xD5)
DEEP_RED_BGR = (0x1C, 0x1C, 0xB9)
EVENT_BGR = (0xD9, 0x28, 0x6D)
GREEN_BGR = (0x3D, 0x80, 0x15)


def story(readings, **told):
    dish = told.pop("dish", "dish-07")
    told.setdefault("line", DishLine(dish, dish, "s"))
    return DishTimeline(readings=tuple(readings), **told)


def drawn(readings, *, limits=LIMITS, zone=ZONE, **told):
    content = plot_story(story(readings, **told), limits, zone=zone)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 960
    assert picture.shape[0] >= 720
    return picture


def columns_with(picture, colour):
    return np.flatnonzero((picture == colour).all(axis=2).any(axis=0))


@pytest.mark.parametrize("count", [0, 1, 2, 30, 500])
def test_any_number_of_readings_makes_a_picture(count):
    picture = drawn(series(*np.linspace(0.01, 0.3, count)))
    assert bool(len(columns_with(picture, LINE_BGR))) == (count > 0)


def test_the_line_is_broken_where_the_fraction_is_undefined():
    whole = drawn(series(*[0.05] * 21))
    broken = drawn(series(*[0.05] * 8, *[None] * 5, *[0.05] * 8))
    middle = range(380, 530)
    assert set(middle) <= set(columns_with(whole, LINE_BGR))
    assert not set(middle) & set(columns_with(broken, LINE_BGR))


def test_the_line_is_broken_where_scans_are_missing():
    with_all = series(*[0.05] * 21)
    with_gap = with_all[:7] + with_all[14:]
    assert not set(range(430, 580)) & set(columns_with(drawn(with_gap), LINE_BGR))


def test_a_series_without_any_cells_is_drawn_without_a_line():
    assert len(columns_with(drawn(series(None, None, None)), LINE_BGR)) == 0


def test_alerts_are_marked_by_their_kind():
    readings = series(0.02, 0.05, 0.12, 0.15)
    plain = drawn(readings)
    assert len(columns_with(plain, DEEP_RED_BGR)) == 0
    raised = drawn(readings, alerts=(alert(readings),))
    assert len(columns_with(raised, DEEP_RED_BGR)) > 0
    cleared = drawn(readings, alerts=(alert(readings, AlertKind.CLEARED),))
    assert len(columns_with(cleared, GREEN_BGR)) > 0


def test_what_people_did_is_marked_where_it_lies_in_the_picture():
    readings = series(*[0.05] * 21)
    assert len(columns_with(drawn(readings), EVENT_BGR)) == 0
    middle, far = readings[10].at, readings[0].at - timedelta(days=30)
    note = Annotation(1, "dish-07", middle, "medium $ changed", "a")
    assert len(columns_with(drawn(readings, annotations=(note,)), EVENT_BGR)) > 0
    old = Annotation(1, "dish-07", far, "medium changed", "a")
    assert len(columns_with(drawn(readings, annotations=(old,)), EVENT_BGR)) == 0
    ended = DishLine("dish-07", "dish-07", "s", ended_at=readings[-1].at)
    assert len(columns_with(drawn(readings, line=ended), EVENT_BGR)) > 0
    assert len(columns_with(drawn((), annotations=(note,), line=ended), EVENT_BGR)) == 0


def test_doubtful_readings_stand_out():
    sure = (reading(0, 0.05), reading(1, 0.05), reading(2, 0.05))
    doubtful = (sure[0], reading(1, 0.05, doubts=("out of focus",)), sure[2])
    assert not np.array_equal(drawn(sure), drawn(doubtful))


def test_what_the_network_doubts_stands_out_as_what_is_wrong_with_an_image_does():
    images = (reading(0, 0.05), reading(1, 0.05, doubts=("out-of-focus",)), reading(2, 0.05))
    network = (
        reading(0, 0.05),
        reading(1, 0.05, doubt=Doubt((DoubtReason.UNFAMILIAR,))),
        reading(2, 0.05),
    )
    assert np.array_equal(drawn(images), drawn(network))


def with_interval(readings, spread, *, calibrated=True):
    return tuple(
        replace(
            one,
            doubt=Doubt(
                interval=(
                    max(0.0, one.differentiated_fraction - spread),
                    one.differentiated_fraction + spread,
                ),
                calibrated=calibrated,
            ),
        )
        for one in readings
    )


def heights_of(picture, columns, colour):
    """(lowest row, highest row) of a colour in some columns."""
    rows = np.flatnonzero((picture[:, columns] == colour).all(axis=2).any(axis=1))
    return rows.min(), rows.max()


def test_the_interval_is_a_band_as_high_as_it_is():
    """In proportion, on one scale; and it hides neither line nor limits."""
    readings = series(*[0.05] * 21)
    plain = drawn(readings)
    wide = drawn(with_interval(readings, 0.05))
    narrow = drawn(with_interval(readings, 0.02))
    assert np.array_equal(plain.shape, wide.shape)
    middle = slice(300, 600)
    changed = [
        np.ptp(np.flatnonzero((plain[76:462, middle] != one[76:462, middle]).any(axis=(1, 2))))
        for one in (wide, narrow)
    ]
    assert changed[0] / changed[1] == pytest.approx(2.5, rel=0.1)


def test_the_band_is_broken_where_the_model_gives_no_interval():
    readings = with_interval(series(*[0.05] * 21), 0.05)
    gap = (*readings[:8], *(replace(one, doubt=Doubt()) for one in readings[8:13]), *readings[13:])
    plain = drawn(series(*[0.05] * 21))
    columns = slice(420, 490)
    assert np.array_equal(drawn(gap)[76:462, columns], plain[76:462, columns])
    assert not np.array_equal(drawn(readings)[76:462, columns], plain[76:462, columns])


def test_an_interval_that_stands_alone_is_seen():
    """A band of no width would show nothing of a dish's first scan."""
    alone = series(0.05)
    assert not np.array_equal(drawn(alone)[76:462], drawn(with_interval(alone, 0.05))[76:462])


def test_an_interval_above_all_readings_lies_in_the_picture():
    readings = (reading(0, 0.05), reading(1, 0.05, doubt=Doubt(interval=(0.0, 0.9))))
    low = drawn(series(0.05, 0.05))
    assert (
        heights_of(drawn(readings), slice(92, 820), LINE_BGR)[0]
        > (heights_of(low, slice(92, 820), LINE_BGR)[0])
    )


def test_that_an_interval_is_not_calibrated_is_written_below_and_in_the_legend():
    sure, own = (
        drawn(with_interval(series(*[0.05] * 21), 0.03, calibrated=known))
        for known in (True, False)
    )
    assert np.array_equal(sure[80:690], own[80:690])
    assert not np.array_equal(sure[:80], own[:80])
    assert not np.array_equal(sure[690:], own[690:])


def test_without_an_interval_the_picture_says_nothing_of_one():
    assert np.array_equal(drawn(series(0.02, 0.05)), drawn(
        tuple(replace(one, doubt=Doubt(kind="ips 4x")) for one in series(0.02, 0.05))
    ))  # fmt: skip


def test_a_legend_of_everything_at_once_stays_in_the_picture():
    """At its usual size it is wider than the picture."""
    readings = with_interval(series(*[0.05, 0.2] * 800, hours=0.5), 0.05, calibrated=False)
    readings = (
        replace(readings[0], differentiated_fraction=None, doubt=Doubt()),
        replace(readings[1], doubts=("out-of-focus",)),
        *readings[2:],
    )
    alerts = tuple(alert(readings[: 100 * (1 + place)], kind)
                   for place, kind in enumerate(AlertKind))  # fmt: skip
    unreadable = (UnreadableCapture(readings[10].at, "blurred"),)
    picture = drawn(readings, alerts=alerts, unreadable=unreadable)
    assert (picture[40:74, -12:] == 255).all()
    assert len(columns_with(picture[40:74], GREEN_BGR)) > 0


def test_time_is_shown_in_the_zone_of_the_lab():
    readings = series(0.02, 0.05, hours=1.0)
    assert not np.array_equal(
        drawn(readings), drawn(readings, zone=ZoneInfo("America/Los_Angeles"))
    )


@pytest.mark.parametrize("dish", ["$x^$ \\frac{", "皿 07", "a\nb", "<b>", ""])
def test_whatever_a_dish_is_called_it_is_drawn_without_a_warning(dish):
    drawn(series(0.02, 0.05), dish=dish)


def test_pictures_can_be_drawn_in_several_threads_at_once():
    told = story(series(*np.linspace(0.01, 0.3, 20)))
    expected = plot_story(told, LIMITS, zone=ZONE)
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(plot_story(told, LIMITS, zone=ZONE)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_captures_that_could_not_be_read_stand_at_their_time():
    readings = series(*[0.05] * 21)
    one = UnreadableCapture(readings[10].at, "blurred")
    assert not np.array_equal(drawn(readings), drawn(readings, unreadable=(one,)))
    assert drawn((), unreadable=(one,)).shape == (720, 960, 3)


def test_only_alerts_on_differentiation_are_marked():
    """Their times and limits are those of the upper panel; others have none there."""
    readings = series(0.02, 0.05, 0.12, 0.15)
    other = replace(alert(readings), topic=AlertTopic.CONFLUENT)
    assert np.array_equal(drawn(readings), drawn(readings, alerts=(other,)))


def test_each_text_that_people_wrote_has_a_line_of_its_own_below_the_picture():
    """Written beside their times, texts of one afternoon would lie upon one another."""
    readings = series(*[0.05] * 21)
    heights = []
    for count in (0, 1, 3, 12, 20, 200):
        notes = tuple(
            Annotation(number, "dish-07", readings[10].at, "a long text " * 9, "a")
            for number in range(count)
        )
        heights.append(drawn(readings, annotations=notes).shape[0])
    lines = np.diff(heights)
    assert heights[0] == 720
    assert (lines > 0).all()
    assert lines[-1] == 25  # the line that says how many more there are


WANTED = {
    "far apart": [0, 100, 200],
    "at one place": [50, 50, 50],
    "at an edge": [198, 199, 200],
    "at both edges": [0, 0, 200, 200],
    "one": [500],
    "none": [],
}


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_what_would_meet_is_moved_apart(wanted):
    places = apart(wanted, least=26, low=0, high=200)
    assert all(later - earlier >= 26 - 1e-9 for earlier, later in pairwise(places))
    assert all(-1e-9 <= place <= 200 + 1e-9 for place in places)


def test_what_does_not_meet_stays_where_it_is():
    assert apart([10, 50, 199], least=26, low=0, high=200) == [10, 50, 199]


def test_the_usual_range_holds_most_scans_and_is_not_moved_by_one():
    random = np.random.default_rng(4)
    hours = np.arange(400) * 2.0
    values = 0.2 + 0.0002 * hours + random.normal(0, 0.01, 400)
    around = usual_range(hours, values, window_h=30)
    held = np.interp(hours, around.hours, around.low), np.interp(hours, around.hours, around.high)
    assert 0.90 < np.mean((held[0] <= values) & (values <= held[1])) <= 1
    assert np.nanmean(around.high - around.low) == pytest.approx(4 * 0.01, rel=0.2)
    odd = values.copy()
    odd[200] = 0.9
    moved = usual_range(hours, odd, window_h=30)
    assert np.nanmax(np.abs(moved.level - around.level)) < 0.01


def test_no_range_is_claimed_from_a_handful_of_scans():
    hours = np.array([0.0, 6.0, 12.0, 300.0, 306.0])
    around = usual_range(hours, np.full(5, 0.1), window_h=30)
    assert np.isnan(around.low).all()
