"""The virtual incubator keeps its promises: same seed same field, labels exact and complete."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import ome_types
import pytest
import tifffile

from model.classes import NOT_DIFFERENTIATED, UNKNOWN, CellClass
from model.simulation.drawing import PIXEL_SIZE_RANGE_UM
from model.simulation.fields import label_fractions, simulate_field
from model.simulation.incubator import (
    VirtualDish,
    simulate_incubator,
    virtual_dishes,
    write_capture,
    write_truth,
)

START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
HEALTHY = VirtualDish("healthy", seed=5, onset_h=None)
TURNING = VirtualDish("turning", seed=5, onset_h=24.0)
SMALL = (256, 256)


def test_the_same_seed_gives_the_same_field() -> None:
    first, second = simulate_field(11, shape=(160, 200)), simulate_field(11, shape=(160, 200))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert (first.pixel_size_um, first.modality) == (second.pixel_size_um, second.modality)


@pytest.mark.parametrize(
    ("seed", "modality", "pixel_size_um", "counts", "mean", "deviation"),
    [
        (2, "brightfield", 1.022, [10011, 554, 2281], 125.90, 41.30),
        (3, "brightfield", 0.714, [9026, 0, 7358], 119.24, 65.83),
        (7, "phase", 2.143, [15845, 539, 0], 132.72, 14.82),
    ],
)
def test_a_seed_stands_for_the_same_field_for_ever(
    seed: int,
    modality: str,
    pixel_size_um: float,
    counts: list[int],
    mean: float,
    deviation: float,
) -> None:
    """Weights name the seeds that they were trained on: whoever changes what a seed draws has to
    change these numbers, and to say so. Bytes may differ between builds of the libraries."""
    field = simulate_field(seed, shape=(128, 128))
    assert field.modality == modality
    assert field.pixel_size_um == pytest.approx(pixel_size_um, abs=1e-3)
    assert np.bincount(field.labels.ravel(), minlength=3)[:3] == pytest.approx(counts, abs=60)
    assert field.image.mean() == pytest.approx(mean, rel=0.005)
    assert field.image.std() == pytest.approx(deviation, rel=0.02)


def test_another_seed_gives_another_field() -> None:
    first, second = simulate_field(11, shape=(160, 200)), simulate_field(12, shape=(160, 200))
    assert not np.array_equal(first.image, second.image)


@pytest.mark.parametrize("seed", range(12))
def test_a_field_has_the_promised_form(seed: int) -> None:
    field = simulate_field(seed, shape=(96, 130))
    assert field.image.shape == field.labels.shape == (96, 130)
    assert field.image.dtype in (np.uint8, np.uint16)
    assert field.labels.dtype == np.uint8
    assert set(np.unique(field.labels)) <= {*CellClass, NOT_DIFFERENTIATED, UNKNOWN}
    assert field.modality in ("phase", "brightfield")
    assert PIXEL_SIZE_RANGE_UM[0] <= field.pixel_size_um <= PIXEL_SIZE_RANGE_UM[1]
    assert field.seed == seed


def test_pixel_size_and_modality_can_be_asked_for() -> None:
    field = simulate_field(3, shape=(64, 64), pixel_size_um=1.63, modality="brightfield")
    assert field.pixel_size_um == 1.63
    assert field.modality == "brightfield"


def test_many_fields_hold_every_class_and_kind() -> None:
    fields = [simulate_field(seed, shape=(128, 128)) for seed in range(60)]
    shares = np.array(
        [np.bincount(f.labels.ravel(), minlength=256)[[0, 1, 2, 255]] / 128**2 for f in fields]
    )
    assert (shares.mean(0)[:3] > 0.15).all()
    assert shares[:, 3].max() > 0.05
    assert {f.modality for f in fields} == {"phase", "brightfield"}
    assert {f.image.dtype for f in fields} == {np.dtype(np.uint8), np.dtype(np.uint16)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed -1 is negative"),
        ({"seed": 1, "shape": (16, 64)}, "too small"),
        ({"seed": 1, "pixel_size_um": 0.0}, "out of reach"),
        ({"seed": 1, "modality": "fluorescence"}, "phase, brightfield"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_field(**arguments)  # type: ignore[arg-type]


def test_fractions_leave_unknown_pixels_out() -> None:
    labels = np.array([[0, 0, 0, 1], [1, 1, 2, 255]], np.uint8)
    fractions = label_fractions(labels)
    assert fractions.background == pytest.approx(3 / 7)
    assert fractions.differentiated_fraction == pytest.approx(1 / 4)
    assert fractions.confluence == pytest.approx(4 / 7)


def test_a_field_without_cells_has_no_differentiated_fraction() -> None:
    fractions = label_fractions(np.zeros((4, 4), np.uint8))
    assert fractions.differentiated_fraction is None
    assert fractions.confluence == 0.0


def test_a_healthy_dish_never_differentiates() -> None:
    for hours in (0.0, 30.0, 96.0):
        assert HEALTHY.truth(hours, shape=SMALL, pixel_size_um=4.0).differentiated == 0.0


def test_a_dish_grows_steadily_and_differentiates_only_after_its_onset() -> None:
    truths = [TURNING.truth(h, shape=SMALL, pixel_size_um=4.0) for h in range(0, 80, 8)]
    confluence = [t.confluence for t in truths]
    fraction = [t.differentiated_fraction for t in truths]
    assert all(c is not None for c in confluence)
    assert all(f is not None for f in fraction)
    assert confluence == sorted(confluence)  # type: ignore[type-var]
    assert fraction[:4] == [0.0] * 4
    assert fraction[3:] == sorted(fraction[3:])  # type: ignore[type-var]
    assert fraction[-1] > 0.3  # type: ignore[operator]
    steps = np.diff(np.array(fraction, float))
    assert steps.max() < 0.3


def test_the_same_colonies_are_seen_an_hour_later() -> None:
    before = HEALTHY.field(40.0, shape=SMALL, pixel_size_um=4.0)
    after = HEALTHY.field(41.0, shape=SMALL, pixel_size_um=4.0)
    assert (before.labels == after.labels).mean() > 0.97
    assert not np.array_equal(before.image, after.image)


def test_a_visit_can_be_repeated_exactly() -> None:
    first, second = (TURNING.field(50.0, shape=SMALL) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)


def test_before_onset_a_turning_dish_is_the_healthy_one() -> None:
    healthy, turning = (d.field(20.0, shape=SMALL) for d in (HEALTHY, TURNING))
    assert np.array_equal(healthy.image, turning.image)


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_a_dish_name_is_one_folder_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a valid folder name"):
        VirtualDish(name, seed=1, onset_h=None)


def test_a_dish_cannot_be_visited_before_it_was_seeded() -> None:
    with pytest.raises(ValueError, match="before the dish was seeded"):
        HEALTHY.field(-1.0)


def test_a_capture_says_its_pixel_size_time_and_stage_position(tmp_path: Path) -> None:
    field = simulate_field(4, shape=(64, 80), pixel_size_um=1.25)
    path = tmp_path / "new" / "a.ome.tif"
    zone = timezone(timedelta(hours=9))
    write_capture(
        field,
        path,
        acquired_at=START.astimezone(zone),
        stage_x_um=-1200.5,
        stage_y_um=38000.25,
        name="a",
    )
    assert np.array_equal(tifffile.imread(path), field.image)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        image = ome_types.from_xml(tiff.ome_metadata or "").images[0]
    assert image.name == "a"
    assert image.acquisition_date == START
    pixels = image.pixels
    assert (pixels.physical_size_x, pixels.physical_size_x_unit.value) == (1.25, "µm")
    assert (pixels.physical_size_y, pixels.physical_size_y_unit.value) == (1.25, "µm")
    plane = pixels.planes[0]
    assert (plane.position_x, plane.position_x_unit.value) == (-1200.5, "µm")
    assert (plane.position_y, plane.position_y_unit.value) == (38000.25, "µm")
    assert plane.delta_t == 0.0
    assert [p.name for p in path.parent.iterdir()] == ["a.ome.tif"]


def test_a_capture_without_time_zone_is_refused(tmp_path: Path) -> None:
    field = simulate_field(4, shape=(64, 64))
    with pytest.raises(ValueError, match="no time zone"):
        write_capture(
            field,
            tmp_path / "a.ome.tif",
            acquired_at=START.replace(tzinfo=None),
            stage_x_um=0,
            stage_y_um=0,
            name="a",
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    path.mkdir()
    with pytest.raises(OSError, match=r"a\.ome\.tif"):
        write_truth(simulate_field(4, shape=(64, 64)), path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ome.tif"]


def test_truth_comes_back_from_its_file(tmp_path: Path) -> None:
    field = simulate_field(9, shape=(64, 80))
    write_truth(field, tmp_path / "truth.png")
    read = cv2.imread(str(tmp_path / "truth.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(read, field.labels)


def test_the_incubator_visits_every_dish_and_leaves_truth_beside(tmp_path: Path) -> None:
    scans = list(
        simulate_incubator(
            tmp_path / "captures",
            dishes=2,
            hours=12,
            interval_h=6,
            seed=3,
            start=START,
            shape=(96, 96),
            pixel_size_um=8.0,
        )
    )
    assert [(s.dish, s.hours) for s in scans] == [
        (dish, hours) for hours in (0.0, 6.0, 12.0) for dish in ("dish-01", "dish-02")
    ]
    first = scans[0]
    assert first.capture == tmp_path / "captures/dish-01/dish-01_20260301T080000Z_f1.ome.tif"
    assert first.truth == tmp_path / "captures-truth/dish-01/dish-01_20260301T080000Z_f1.png"
    for scan in scans:
        labels = cv2.imread(str(scan.truth), cv2.IMREAD_UNCHANGED)
        assert label_fractions(labels.astype(np.uint8)) == scan.fractions
        assert scan.capture.is_file()
    assert len({s.acquired_at for s in scans}) == len(scans)


def test_one_scan_is_written_at_a_time(tmp_path: Path) -> None:
    scans = simulate_incubator(
        tmp_path,
        dishes=[HEALTHY],
        hours=1000,
        interval_h=1,
        seed=3,
        start=START,
        truth_dir=tmp_path / "truth",
        shape=(64, 64),
    )
    next(scans)
    assert len(list(tmp_path.rglob("*.ome.tif"))) == 1


def test_exactly_one_of_the_virtual_dishes_turns() -> None:
    for seed in range(5):
        dishes = virtual_dishes(4, seed=seed, hours=72)
        assert sum(d.onset_h is not None for d in dishes) == 1
        assert len({d.seed for d in dishes}) == len({(d.stage_x_um, d.stage_y_um) for d in dishes})
        last = next(d for d in dishes if d.onset_h is not None).truth(72, shape=(192, 192))
        assert last.differentiated_fraction is not None
        assert last.differentiated_fraction > 0.15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"interval_h": 0.0}, "not positive"), ({"start": START.replace(tzinfo=None)}, "time zone")],
)
def test_an_impossible_timetable_is_refused(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    wanted = {"dishes": 1, "hours": 4.0, "interval_h": 2.0, "seed": 1, "start": START, **arguments}
    with pytest.raises(ValueError, match=message):
        list(simulate_incubator(tmp_path, **wanted))  # type: ignore[arg-type]
