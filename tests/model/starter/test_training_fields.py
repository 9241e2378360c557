"""Simulated fields on disk: drawn once, gone on with, and never those of another simulation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.starter.training_fields import simulated_fields, simulation_version


def test_drawing_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    """A field that is marked as drawn stays as it is; one that is not is drawn."""
    first = [np.array(one.flat) for one in simulated_fields(2, tmp_path)]
    (marks,) = tmp_path.glob("*.drawn")
    (flats,) = tmp_path.glob("*.f16")
    whole = flats.read_bytes()
    flats.write_bytes(bytes(len(whole)))
    marks.write_bytes(bytes([1, 0]))
    again = simulated_fields(2, tmp_path)
    assert not np.any(again[0].flat)
    np.testing.assert_array_equal(again[1].flat, first[1])


def test_fields_of_another_simulation_are_never_reused(tmp_path: Path) -> None:
    """Their files have another name, and are left alone."""
    old = tmp_path / "simulated-1-0123456789.f16"
    old.write_bytes(b"old")
    (tmp_path / "simulated-1-0123456789.drawn").write_bytes(b"\x01")
    (one,) = simulated_fields(1, tmp_path)
    assert np.any(one.flat)
    assert old.read_bytes() == b"old"
    assert (tmp_path / f"simulated-1-{simulation_version()}.f16").exists()


def test_what_was_cut_short_on_disk_is_drawn_anew(tmp_path: Path) -> None:
    """Marks of fields whose pixels are gone would make training learn from zeros."""
    (first,) = simulated_fields(1, tmp_path)
    kept = np.array(first.flat)
    (flats,) = tmp_path.glob("*.f16")
    flats.write_bytes(flats.read_bytes()[:1000])
    (again,) = simulated_fields(1, tmp_path)
    np.testing.assert_array_equal(again.flat, kept)
