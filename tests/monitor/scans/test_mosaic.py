from __future__ import annotations

import itertools

import numpy as np
import pytest

from monitor.culture import FieldAreas, FieldsJoined, StagePosition, TrackedColony
from monitor.scans.comparison import carry, compare
from monitor.scans.mosaic import FieldPlace, lay_out
from monitor.scans.tracking import follow
from monitor.segmentation.colonies import measure_areas
from monitor.stage.frames import field_to_stage
from tests.monitor.facts import measurement

SIZE_UM = 4.0
PLAIN, TURNED = ((1.0, 0.0), (0.0, -1.0)), ((0.0, -1.0), (-1.0, 0.0))
LIMIT_UM2 = 1_500.0


def dish(*discs, shape=(400, 500)):
    """A whole dish at 4 um/px; a disc: row, column, radius, radius of its changed core."""
    labels = np.zeros(shape, np.uint8)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for row, column, radius, core in discs:
        away = np.hypot(rows - row, columns - column)
        labels[away <= radius] = 1
        labels[away < core] = 2
    return labels


def fields_of(labels, boxes, *, camera=PLAIN, placed=True):
    """Cut (top, left, bottom, right) boxes out of a dish. Returns the fields and their reader."""
    middle = (np.array(labels.shape) - 1) / 2
    places, cut = [], {}
    for number, (top, left, bottom, right) in enumerate(boxes):
        part = labels[top:bottom, left:right]
        centre = np.array([(top + bottom - 1) / 2, (left + right - 1) / 2]) - middle
        x, y = np.array(camera) @ centre[::-1] * SIZE_UM
        name = f"labels/{number}.png"
        measured = measurement(
            shape=part.shape,
            areas=measure_areas(part),
            pixel_size_um=SIZE_UM,
            stage=StagePosition(x, y),
            label_map=name,
        )
        cut[name] = part
        to_stage = field_to_stage(
            shape=part.shape, pixel_size_um=SIZE_UM, pixel_to_stage=camera, centre=measured.stage
        )
        places.append(FieldPlace(str(number), measured, to_stage if placed else None))
    return places, lambda measured: cut.get(measured.label_map)


def laid_out(labels, boxes, **options):
    places, read = fields_of(labels, boxes, **options)
    return lay_out(places, read, min_area_um2=LIMIT_UM2)


def total(areas):
    return FieldAreas(*(sum(values) for values in zip(*(
        (one.background_px, one.undifferentiated_px, one.differentiated_px) for one in areas
    ), strict=True)))  # fmt: skip


DISCS = ((200, 250, 90, 30), (80, 90, 40, 0), (330, 420, 45, 45), (60, 440, 5, 0))
TILINGS = {
    "one field": [(0, 0, 400, 500)],
    "edge to edge": [(0, 0, 400, 250), (0, 250, 400, 500)],
    "a tenth shared": [(0, 0, 400, 275), (0, 225, 400, 500)],
    "four, and a fifth upon their middle": [
        (0, 0, 220, 270), (0, 230, 220, 500), (180, 0, 400, 270), (180, 230, 400, 500),
        (100, 150, 300, 350),
    ],
    "the very same field three times": [(0, 0, 400, 500)] * 3,
}  # fmt: skip


@pytest.mark.parametrize("camera", [PLAIN, TURNED], ids=["upright", "turned and mirrored"])
@pytest.mark.parametrize("case", TILINGS)
def test_however_a_dish_is_cut_into_fields_it_has_the_same_areas_and_colonies(case, camera):
    """What several fields show is counted once, and a colony that spans them is one."""
    labels = dish(*DISCS)
    found = laid_out(labels, TILINGS[case], camera=camera)
    assert total(found.areas) == measure_areas(labels)
    whole = laid_out(labels, TILINGS["one field"], camera=camera)
    assert [one.area for one in found.colonies] == pytest.approx([c.area for c in whole.colonies])
    assert [one.differentiated_fraction for one in found.colonies] == pytest.approx(
        [one.differentiated_fraction for one in whole.colonies]
    )
    for one, other in zip(found.colonies, whole.colonies, strict=True):
        assert one.centre == pytest.approx(other.centre, abs=SIZE_UM)
        assert not one.is_cut
    expected = FieldsJoined.ONE if len(TILINGS[case]) == 1 else FieldsJoined.PLACED
    assert found.joined is expected
    (drawn,) = found.maps
    assert (drawn.values > 1).sum() * drawn.cell**2 == pytest.approx(
        sum(one.area for one in found.colonies), rel=0.05
    )


def test_the_order_of_the_fields_changes_nothing_by_more_than_a_seam():
    labels = dish(*DISCS)
    boxes = TILINGS["four, and a fifth upon their middle"]
    for some in itertools.islice(itertools.permutations(boxes), 0, 120, 37):
        assert total(laid_out(labels, list(some)).areas) == measure_areas(labels)


def test_fields_without_a_place_are_added_up_and_say_so():
    labels = dish(*DISCS)
    found = laid_out(labels, TILINGS["a tenth shared"], placed=False)
    assert found.joined is FieldsJoined.ADDED
    assert total(found.areas).imaged_px == 2 * 400 * 275
    assert {one.frame.split()[0] for one in found.colonies} == {"field"}


def test_a_missing_label_map_leaves_the_sum():
    places, _ = fields_of(dish(*DISCS), TILINGS["a tenth shared"])
    found = lay_out(places, lambda measured: None, min_area_um2=LIMIT_UM2)
    assert (found.joined, found.colonies) == (FieldsJoined.ADDED, None)
    assert found.areas == tuple(place.measurement.areas for place in places)


def test_a_colony_at_the_border_of_what_was_imaged_is_cut():
    """Its area is not the colony's, so that its growth must not be read from it."""
    cut, whole = laid_out(dish((200, 0, 60, 0), (200, 250, 50, 0)), [(0, 0, 400, 500)]).colonies
    assert (whole.is_cut, cut.is_cut) in {(True, False), (False, True)}
    assert min(cut, whole, key=lambda one: one.centre[0]).is_cut


# --- from scan to scan --------------------------------------------------------------------------


def followed(*dishes, boxes=None):
    """Each dish's colonies by number, largest first, after following them from the first."""
    known, maps, next_number, story = (), (), 1, []
    for labels in dishes:
        found = laid_out(labels, boxes or [(0, 0, *labels.shape)])
        laid = compare(maps, found.maps)
        result = follow(known, found.colonies, laid.shared, laid.sizes, next_number)
        maps = carry(maps, found.maps, dict(result.kept), laid.shifts)
        known, next_number = result.colonies, result.next_number
        story.append(result)
    return story


def seen(result):
    return [(one.number, one.came_from) for one in result.colonies if not one.missed]


def test_a_growing_colony_keeps_its_number():
    one, two = (100, 100, 30, 0), (300, 350, 40, 0)
    first, second = followed(dish(one, two), dish((102, 99, 50, 5), (300, 352, 42, 0)))
    assert seen(first) == [(1, ()), (2, ())]
    assert seen(second) == [(2, ()), (1, ())]


def test_a_merged_colony_keeps_the_number_of_its_largest_part():
    _first, second = followed(
        dish((200, 150, 50, 0), (200, 280, 40, 0)), dish((200, 150, 75, 0), (200, 280, 65, 0))
    )
    assert seen(second) == [(1, (2,))]
    assert second.next_number == 3


def test_a_split_colony_gives_its_number_to_its_largest_part():
    _first, second = followed(
        dish((200, 150, 75, 0), (200, 280, 65, 0)), dish((200, 150, 50, 0), (200, 280, 40, 0))
    )
    assert seen(second) == [(1, ()), (2, (1,))]


def test_a_colony_that_one_scan_misses_comes_back_under_its_number():
    both, one = dish((100, 100, 40, 0), (300, 350, 30, 0)), dish((100, 100, 40, 0))
    story = followed(both, one, one, both)
    assert seen(story[-1]) == [(1, ()), (2, ())]
    assert followed(both, one, one, one)[-1].gone == (2,)


def test_what_was_not_imaged_is_not_gone():
    """A field that is missing from a scan takes no colony away."""
    labels = dish((200, 100, 40, 0), (200, 400, 30, 0))
    left = [(0, 0, 400, 250)]
    known, maps, next_number = (), (), 1
    for boxes in (TILINGS["edge to edge"], left, left, left, left, TILINGS["edge to edge"]):
        found = laid_out(labels, boxes)
        laid = compare(maps, found.maps)
        result = follow(known, found.colonies, laid.shared, laid.sizes, next_number)
        maps = carry(maps, found.maps, dict(result.kept), laid.shifts)
        known, next_number = result.colonies, result.next_number
        assert result.gone == ()
    assert seen(result) == [(1, ()), (2, ())]


def test_a_dish_that_was_put_back_elsewhere_keeps_its_numbers():
    """By half a millimetre after a change of medium: farther than a colony is wide."""
    discs = [(120, 130, 25, 0), (250, 300, 35, 0), (300, 120, 20, 0), (100, 380, 30, 0)]
    moved = [(row - 60, column + 70, radius + 1, 0) for row, column, radius, _ in discs]
    first, second = followed(dish(*discs), dish(*moved))
    assert [number for number, _ in seen(second)] == [number for number, _ in seen(first)]


def test_a_colony_that_appears_gets_a_number_of_its_own():
    _first, second = followed(dish((100, 100, 40, 0)), dish((100, 100, 42, 0), (300, 350, 30, 0)))
    assert seen(second) == [(1, ()), (2, ())]


def test_an_empty_scan_follows_and_is_followed():
    story = followed(dish(), dish((100, 100, 40, 0)), dish())
    assert seen(story[1]) == [(1, ())]
    assert isinstance(story[2].colonies[0], TrackedColony)
