"""The virtual incubator keeps its promises: same seed same field, labels exact and complete."""

from __future__ import annotations

import numpy as np
import pytest

from model.classes import UNKNOWN, CellClass
from model.simulate import PIXEL_SIZE_RANGE_UM, label_fractions, simulate_field


def test_the_same_seed_gives_the_same_field() -> None:
    first, second = simulate_field(11, shape=(160, 200)), simulate_field(11, shape=(160, 200))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert (first.pixel_size_um, first.modality) == (second.pixel_size_um, second.modality)


def test_another_seed_gives_another_field() -> None:
    first, second = simulate_field(11, shape=(160, 200)), simulate_field(12, shape=(160, 200))
    assert not np.array_equal(first.image, second.image)


@pytest.mark.parametrize("seed", range(12))
def test_a_field_has_the_promised_form(seed: int) -> None:
    field = simulate_field(seed, shape=(96, 130))
    assert field.image.shape == field.labels.shape == (96, 130)
    assert field.image.dtype in (np.uint8, np.uint16)
    assert field.labels.dtype == np.uint8
    assert set(np.unique(field.labels)) <= {*CellClass, UNKNOWN}
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
