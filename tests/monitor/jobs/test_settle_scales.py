"""One scale for the captures of a source that come without a pixel size."""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest

from model.scale import CANDIDATE_SIZES_UM
from monitor.culture import (
    UNLISTED,
    AtScale,
    CaptureState,
    FieldMeasurement,
    PixelSize,
    ScaleEvidence,
    ScaleState,
)
from monitor.culture.scales import CHECKED_EVERY, OF_A_DISH, OF_A_SCALE
from monitor.decisions.silence import scale_alerts
from monitor.errors import UsageError
from monitor.jobs.settle_scales import ENOUGH_CHECKS, settle_scales
from monitor.record.store import Store
from tests.monitor.facts import DISH, NOW, hours, measure, measurement, place, read, seen, take

SHAPE = (470, 472)


def saying(um: float, depth: float = 2.0) -> ScaleEvidence:
    """What an image says at which the network is surest where it is taken for `um`."""
    doubts = tuple(min(1.0, depth * math.log(size / um) ** 2) for size in CANDIDATE_SIZES_UM)
    return ScaleEvidence(doubts, 471.0, None)


def at(
    um: float,
    evidence: ScaleEvidence | None = None,
    *,
    magnification: str = "",
    shape: tuple[int, int] = SHAPE,
    is_check: bool = False,
    acquired_at: datetime = NOW,
) -> FieldMeasurement:
    """A capture without a pixel size that was measured at `um`."""
    changes = {
        "shape": shape,
        "pixel_size": PixelSize(um, assumed=True),
        "at_scale": AtScale(magnification, evidence, is_check),
        "acquired_at": acquired_at,
    }
    values = vars(measurement()) | changes
    return FieldMeasurement(**values)


class World:
    """A source whose captures come one after the other, each a scan of its own."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.ids: list[int] = []

    def capture(
        self,
        measured: FieldMeasurement,
        *,
        dish: str = DISH,
        source: str = "incubator",
        path: str | None = None,
    ) -> int:
        """Measure one, read its scan and have it count. Returns its number."""
        nth = len(self.ids) + 1
        where = place(dish, key=str(nth), source=source)
        file = seen(path or f"/in/{nth}.png", source=source, identity=where.named)
        _, capture = self.store.captures.take_in(file, NOW)
        self.store.captures.claim_due("me", NOW, limit=1, only=[capture.id])
        scan = self.store.captures.record_measurement(capture.id, "me", where, measured, NOW)
        assert scan is not None
        read(self.store, scan)
        self.ids.append(capture.id)
        settle_scales(self.store, [(capture.id, source, measured)], NOW, reopens=True)
        return capture.id

    def dishes(self, count: int, um: float, says: float) -> None:
        for number in range(count):
            self.capture(at(um, saying(says)), dish=f"plate/A{number + 1}")

    @property
    def scale(self):
        (found,) = self.store.scales.all()
        return found

    def states(self) -> list[CaptureState]:
        return [one.state for one in self.store.captures.find(self.ids)]


@pytest.fixture
def world(store) -> World:
    return World(store)


def test_the_first_capture_opens_the_scale_of_its_source(world):
    world.capture(at(2.9, saying(2.9)))
    assert (world.scale.um, world.scale.state) == (2.9, ScaleState.OPEN)
    assert (world.scale.images, world.scale.dishes, world.scale.setup) == (1, 1, "472 x 470 px")


def test_where_the_pixel_size_is_known_there_is_no_scale(world):
    world.capture(measurement())
    assert world.store.scales.all() == []


def test_more_images_move_it_and_what_rests_on_the_former_is_measured_again(world):
    """Each of seven fields of one microscope was taken for another scale: the series jumped."""
    first = world.capture(at(1.75, saying(1.75)))
    world.dishes(3, 1.75, says=3.2)
    assert world.scale.um == pytest.approx(2.9, rel=0.15)
    waiting = [one.id for one in world.store.captures.find(world.ids)
               if one.state is CaptureState.WAITING]  # fmt: skip
    assert first in waiting
    assert world.store.scales.outdated() == []


def test_what_is_measured_again_at_the_new_scale_makes_a_new_version(world):
    world.capture(at(1.0, saying(3.0)))
    um = world.scale.um
    assert um == pytest.approx(3.0, rel=0.15)
    assert world.states() == [CaptureState.WAITING]
    (claimed,) = world.store.captures.claim_due("me", NOW, limit=1)
    scan = world.store.captures.record_measurement(
        claimed.id, "me", place(DISH, key="1"), at(um), NOW + hours(1)
    )
    outcome = read(world.store, scan, at=NOW + hours(1))
    assert outcome is not None
    (reading,) = world.store.timelines.of(DISH).readings
    assert (reading.version, reading.assumed_pixel_size_um) == (2, um)
    assert world.store.scales.outdated() == []


def test_images_of_several_dishes_that_agree_settle_it(world):
    world.dishes(4, 3.0, says=3.0)
    assert world.scale.state is ScaleState.OPEN
    world.capture(at(3.0, saying(3.0)), dish="plate/A9")
    assert world.scale.state is ScaleState.SETTLED
    assert world.scale.grounds == "estimated from 5 images of 5 dishes"


def test_images_of_one_dish_alone_do_not_settle_it(world):
    for _ in range(6):
        world.capture(at(3.0, saying(3.0)))
    assert world.scale.state is ScaleState.OPEN


def test_so_many_images_settle_it_even_if_they_do_not_agree(world):
    for number in range(OF_A_SCALE):
        said = 0.6 if number % 2 else 5.0
        um = world.scale.um if number else said
        world.capture(at(um, saying(said)), dish=f"plate/A{number}")
    assert world.scale.state is ScaleState.SETTLED


def test_later_images_do_not_move_what_is_settled(world):
    world.dishes(5, 3.0, says=3.0)
    before = world.scale
    world.capture(at(3.0))
    assert world.scale == before


def asked(world: World, path: str = "/in/new.png", dish: str = DISH):
    return world.store.scales.in_use(take(world.store, path), dish)


def test_of_each_dish_only_some_images_are_asked(world):
    """More of them would say the same again, and each costs three times the segmentation."""
    assert asked(world) == ()
    for number in range(1, OF_A_DISH + 1):
        world.capture(at(3.0, saying(3.0)))
        (of_another,) = asked(world, f"/in/b{number}.png", dish="plate/B1")
        assert of_another.evidence is not None and len(of_another.evidence) == number
    (of_the_same,) = asked(world, "/in/a.png")
    assert of_the_same.evidence is None


def test_an_image_is_asked_only_once(world):
    number = world.capture(at(3.0, saying(3.0)))
    (capture,) = world.store.captures.find([number])
    (in_use,) = world.store.scales.in_use(capture, DISH)
    assert in_use.evidence is None


def test_contradicting_images_change_nothing_and_alert_people(world):
    world.dishes(5, 3.0, says=3.0)
    for _ in range(ENOUGH_CHECKS):
        world.capture(at(3.0, saying(1.2), is_check=True))
    assert (world.scale.um, world.scale.state) == (3.0, ScaleState.SETTLED)
    assert world.scale.looks_like_um == pytest.approx(1.2, rel=0.15)
    (alert,) = scale_alerts(world.store.scales.all())
    assert (alert.topic, alert.source) == ("scale-off", "incubator")
    assert "are read at 3 um/px and look like 1.2" in alert.text


def test_fewer_images_that_contradict_are_no_evidence(world):
    world.dishes(5, 3.0, says=3.0)
    for _ in range(ENOUGH_CHECKS - 1):
        world.capture(at(3.0, saying(1.2), is_check=True))
    assert scale_alerts(world.store.scales.all()) == ()


def test_images_that_agree_again_end_the_alert(world):
    world.dishes(5, 3.0, says=3.0)
    for um in [1.2] * ENOUGH_CHECKS + [3.0] * 8:
        world.capture(at(3.0, saying(um), is_check=True))
    assert scale_alerts(world.store.scales.all()) == ()


def test_a_persons_word_holds_and_has_all_measured_again(world):
    world.dishes(5, 3.0, says=3.0)
    change = world.store.scales.set(1, 1.5, "Rin", NOW)
    assert (change.before_um, change.reopened) == (3.0, (1, 2, 3, 4, 5))
    assert world.states() == [CaptureState.WAITING] * 5
    assert (world.scale.um, world.scale.state, world.scale.grounds) == (
        1.5, ScaleState.SET, "set by Rin",
    )  # fmt: skip
    (in_use,) = asked(world)
    assert in_use.is_set and in_use.evidence is None


def test_a_word_that_changes_nothing_measures_nothing_again(world):
    world.dishes(5, 3.0, says=3.0)
    assert world.store.scales.set(1, 3.0, "Rin", NOW).reopened == ()


def test_what_was_set_can_be_estimated_anew(world):
    world.dishes(5, 3.0, says=3.0)
    world.store.scales.set(1, 1.5, "Rin", NOW)
    world.store.scales.estimate_anew(1, "Rin", NOW)
    assert (world.scale.um, world.scale.state, world.scale.images) == (1.5, ScaleState.OPEN, 0)
    (in_use,) = asked(world)
    assert in_use.evidence == ()


def test_an_estimate_does_not_move_what_a_person_has_set(world):
    world.capture(at(3.0, saying(3.0)))
    world.store.scales.set(1, 1.5, "Rin", NOW)
    world.capture(at(3.0, saying(3.0)), dish="plate/B1")
    assert world.scale.um == 1.5


@pytest.mark.parametrize("change", ["set", "anew"])
def test_a_scale_that_there_is_not_cannot_be_changed(world, change):
    with pytest.raises(UsageError, match="there is no scale 7"):
        if change == "set":
            world.store.scales.set(7, 1.0, "Rin", NOW)
        else:
            world.store.scales.estimate_anew(7, "Rin", NOW)


APART = {
    # name: (a second capture beside one of 470 x 472 in /in, the scales that there are then)
    "the same": ({}, {}, 1),
    "cut by a little": ({"shape": (466, 472)}, {}, 1),
    "another camera": ({"shape": (1040, 1392)}, {}, 2),
    "another objective by its name": ({"magnification": "10x"}, {}, 2),
    "another source": ({}, {"source": "other"}, 2),
}


@pytest.mark.parametrize("case", APART)
def test_each_setup_of_a_source_has_its_own_scale(world, case):
    measured, captured, scales = APART[case]
    world.capture(at(3.0, saying(3.0)))
    world.capture(at(3.0, saying(3.0), **measured), dish="plate/B1", **captured)
    assert len(world.store.scales.all()) == scales


def test_captures_of_no_source_have_one_scale_for_each_folder(world):
    for path, dish in (("/a/1.png", "A"), ("/a/2.png", "B"), ("/b/3.png", "C")):
        world.capture(at(3.0, saying(3.0)), dish=dish, source=UNLISTED, path=path)
    assert [one.place for one in world.store.scales.all()] == [Path("/a"), Path("/b")]


def test_a_scale_goes_on_where_its_source_is_called_otherwise(world):
    from monitor.record.sources import ConfiguredSource

    world.capture(at(3.0, saying(3.0)))
    renamed = ConfiguredSource("plates", Path("/in"), formerly=("incubator",))
    world.store.sources.settle([renamed], NOW)
    assert world.scale.source == "plates"


def test_what_somebody_measures_again_already_is_not_made_to_wait(world):
    """`reprocess` takes what is outdated itself."""
    scan = measure(world.store, "/in/1.png", place(DISH, key="1"), at(1.0, saying(3.0)))
    read(world.store, scan)
    told = [(1, "incubator", at(1.0, saying(3.0)))]
    assert settle_scales(world.store, told, NOW, reopens=False) == []
    assert world.store.scales.outdated() == [1]
    assert world.store.scales.outdated(dish=DISH) == [1]
    assert world.store.scales.outdated(dish="another") == []
    assert world.store.scales.outdated(sources=["other"]) == []
    assert world.store.scales.not_measured_again(1) == 1


def test_one_in_so_many_of_a_settled_scale_is_asked_whether_it_agrees(world):
    world.dishes(5, 3.0, says=3.0)
    checked = []
    for number in range(len(world.ids) + 1, CHECKED_EVERY + 2):
        capture = take(world.store, f"/in/{number}.tif")
        (in_use,) = world.store.scales.in_use(capture, DISH)
        assert in_use.evidence is None
        checked += [capture.id] if in_use.is_checked else []
    assert checked == [CHECKED_EVERY]
