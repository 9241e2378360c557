from __future__ import annotations

from math import exp

import pytest

from monitor.culture import ColonyPoint, TrackedColony
from monitor.decisions.growth import stories
from tests.monitor.facts import NOW, hours


def point(after_h, area, number=1, **changes):
    values = {"differentiated_fraction": 0.1, "centre": (0.0, 0.0), "frame": "stage"}
    return ColonyPoint(
        NOW + hours(after_h), TrackedColony(area=area, number=number, **(values | changes))
    )


def test_growth_is_that_of_the_whole_colony_since_it_last_merged():
    """A merger doubles the area in one scan and is no growth; a cut one's area is not its own."""
    points = [point(h, 1000 * exp(0.02 * h)) for h in range(0, 12, 2)]
    points += [
        point(h, 5000 * exp(0.01 * h), came_from=(2,) if h == 12 else ()) for h in range(12, 30, 2)
    ]
    points.append(point(30, 1.0, is_cut=True))
    (story,) = stories(points, window_h=48)
    assert story.growth.slope_per_h == pytest.approx(0.01)
    assert (story.scans, story.came_from) == (16, (2,))


def test_few_scans_give_no_growth():
    (story,) = stories([point(0, 10.0), point(6, 12.0)], window_h=48)
    assert story.growth is None
