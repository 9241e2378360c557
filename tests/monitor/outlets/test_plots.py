import threading
from datetime import timedelta
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from monitor.config import DifferentiationConfig
from monitor.culture import AlertKind, Annotation, DishLine
from monitor.outlets.plots import plot_series
from tests.monitor.outlets.stories import alert, reading, series

LIMITS = DifferentiationConfig()
ZONE = ZoneInfo("Asia/Tokyo")
LINE_BGR = (0x00, 0x5E, 0xD5)
DEEP_RED_BGR = (0x1C, 0x1C, 0xB9)
EVENT_BGR = (0xD9, 0x28, 0x6D)
GREEN_BGR = (0x3D, 0x80, 0x15)


def drawn(readings, **settings):
    content = plot_series(readings, LIMITS, **({"dish": "dish-07", "zone": ZONE} | settings))
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (720, 960, 3)
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
    middle = range(430, 580)
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
    raised = drawn(readings, alerts=[alert(readings)])
    assert len(columns_with(raised, DEEP_RED_BGR)) > 0
    cleared = drawn(readings, alerts=[alert(readings, AlertKind.CLEARED)])
    assert len(columns_with(cleared, GREEN_BGR)) > 0


def test_what_people_did_is_marked_where_it_lies_in_the_picture():
    readings = series(*[0.05] * 21)
    assert len(columns_with(drawn(readings), EVENT_BGR)) == 0
    middle, far = readings[10].at, readings[0].at - timedelta(days=30)
    note = Annotation(1, "dish-07", middle, "medium $ changed", "a")
    assert len(columns_with(drawn(readings, annotations=[note]), EVENT_BGR)) > 0
    old = Annotation(1, "dish-07", far, "medium changed", "a")
    assert len(columns_with(drawn(readings, annotations=[old]), EVENT_BGR)) == 0
    ended = DishLine("dish-07", "dish-07", "s", ended_at=readings[-1].at)
    assert len(columns_with(drawn(readings, line=ended), EVENT_BGR)) > 0
    assert len(columns_with(drawn((), annotations=[note], line=ended), EVENT_BGR)) == 0


def test_doubtful_readings_stand_out():
    sure = (reading(0, 0.05), reading(1, 0.05), reading(2, 0.05))
    doubtful = (sure[0], reading(1, 0.05, doubts=("out of focus",)), sure[2])
    assert not np.array_equal(drawn(sure), drawn(doubtful))


def test_time_is_shown_in_the_zone_of_the_lab():
    readings = series(0.02, 0.05, hours=1.0)
    assert not np.array_equal(
        drawn(readings), drawn(readings, zone=ZoneInfo("America/Los_Angeles"))
    )


@pytest.mark.parametrize("dish", ["$x^$ \\frac{", "皿 07", "a\nb", "<b>", ""])
def test_whatever_a_dish_is_called_it_is_drawn_without_a_warning(dish):
    drawn(series(0.02, 0.05), dish=dish)


def test_pictures_can_be_drawn_in_several_threads_at_once():
    readings = series(*np.linspace(0.01, 0.3, 20))
    expected = plot_series(readings, LIMITS, dish="dish-07", zone=ZONE)
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(plot_series(readings, LIMITS, dish="dish-07", zone=ZONE))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
