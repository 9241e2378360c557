"""OME-Zarr stores as writers leave them: whole, growing, cut, and of kinds that are not read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import cv2
import numpy as np
import pytest

from monitor.capture.formats.reading import read_picture
from monitor.errors import CaptureError
from tests.monitor.capture.pictures import colonies

zarr = pytest.importorskip("zarr", reason='needs pip install "colonywatch[zarr]"')
pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")

ZONE = ZoneInfo("UTC")
PICTURE = colonies((96, 128))
UNIT = {"type": "space", "unit": "micrometer"}


def scale(*steps: float) -> dict[str, Any]:
    return {"type": "scale", "scale": list(steps)}


def move(*steps: float) -> dict[str, Any]:
    return {"type": "translation", "translation": list(steps)}


def store(
    path: Path,
    pixels: np.ndarray = PICTURE,
    *,
    version: str = "0.5",
    axes: Sequence[Any] = ({"name": "y"} | UNIT, {"name": "x"} | UNIT),
    own: Sequence[dict[str, Any]] = (scale(0.65, 0.65),),
    of_all: Sequence[dict[str, Any]] | None = None,
    copies: int = 0,
    group: str = "",
    about: dict[str, Any] | None = None,
    **how: Any,
) -> Path:
    """A picture with `copies` smaller ones, each half the size of the one before."""
    shutil.rmtree(path, ignore_errors=True)
    root = zarr.open_group(path, mode="w", zarr_format=2 if version < "0.5" else 3)
    inside = root.create_group(group) if group else root
    how = {"chunks": (*(1,) * (pixels.ndim - 2), 32, 32)} | how
    datasets = []
    level = pixels
    for number in range(copies + 1):
        inside.create_array(str(number), shape=level.shape, dtype=level.dtype, **how)[:] = level
        datasets.append({"path": str(number), "coordinateTransformations": list(own)})
        if number < copies:
            level = cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    picture: dict[str, Any] = {"axes": list(axes), "datasets": datasets}
    if of_all is not None:
        picture["coordinateTransformations"] = list(of_all)
    said = {"multiscales": [picture]} | (about or {})
    if version < "0.5":
        picture["version"] = version
        inside.attrs.update(said)
    else:
        inside.attrs["ome"] = {"version": version} | said
    return path


def read(path: Path, **how: Any):
    return read_picture(path, zone=ZONE, **how)


def refused(path: Path) -> CaptureError:
    with pytest.raises(CaptureError, match=path.name) as problem:
        read(path)
    assert str(problem.value).isprintable()
    return problem.value


SCALES = {
    # name: (of the array, of all arrays, um/px)
    "on the array": ([scale(0.65, 0.65)], None, 0.65),
    "on all": ([scale(1, 1)], [scale(0.65, 0.65)], 0.65),
    "on both": ([scale(0.5, 0.5)], [scale(1.3, 1.3)], 0.65),
    "with places": ([scale(0.65, 0.65), move(10, 20)], [scale(1, 1), move(5, 5)], 0.65),
    "a place alone on all": ([scale(0.65, 0.65)], [move(5, 5)], 0.65),
    "only on all": ([], [scale(0.65, 0.65)], 0.65),
    "nowhere": ([], None, None),
    "as it is": ([{"type": "identity"}], None, None),
}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("case", SCALES)
def test_the_scales_of_an_array_and_of_all_arrays_multiply(tmp_path, case, version):
    """Writers put the size of a pixel on either; read from one alone, it is 1 um."""
    own, of_all, size_um = SCALES[case]
    path = store(tmp_path / "a.zarr", version=version, own=own, of_all=of_all)
    assert read(path).pixel_size_um == size_um


@pytest.mark.parametrize(
    ("unit", "step", "size_um"),
    [
        ("nanometer", 650, 0.65),
        ("millimeter", 0.00065, 0.65),
        ("meter", 6.5e-7, 0.65),
        ("Micrometre", 0.65, 0.65),
        ("micrometers", 0.65, 0.65),
        ("µm", 0.65, 0.65),
        ("angstrom", 6500, 0.65),
        ("second", 0.65, None),
        ("", 0.65, None),
    ],
)
def test_units_are_what_the_axes_say(tmp_path, unit, step, size_um):
    axes = [{"name": name, "type": "space", "unit": unit} for name in "yx"]
    path = store(tmp_path / "a.zarr", axes=axes, own=[scale(step, step)])
    assert read(path).pixel_size_um == size_um


def test_axes_come_in_any_order_before_the_picture(tmp_path):
    """Channels after heights or before; one time is no film."""
    stack = np.stack([np.stack([PICTURE // 2, PICTURE])])[None]  # t, z, c, y, x
    axes = [{"name": "t", "type": "time"}, {"name": "z"} | UNIT, {"name": "c", "type": "channel"}]
    axes += [{"name": "y"} | UNIT, {"name": "x"} | UNIT]
    steps = [scale(1, 5, 1, 0.65, 0.65)]
    named = {"omero": {"channels": [{"label": "DAPI"}, {"label": "Phase"}]}}
    path = store(tmp_path / "a.zarr", stack, axes=axes, own=steps, about=named)
    assert read(path).pixel_size_um == 0.65
    np.testing.assert_array_equal(read(path).pixels, PICTURE)
    np.testing.assert_array_equal(read(path, channel="DAPI").pixels, PICTURE // 2)
    film = store(tmp_path / "b.zarr", np.repeat(stack, 3, 0), axes=axes, own=steps)
    problem = refused(film)
    assert (problem.reason, "3 time points" in str(problem)) == ("unsupported", True)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ([scale(1.3, 0.65)], "0.65 x 1.3 um, which are not square"),
        ([scale(0.65)], "does not fit its axes"),
        ([scale(0.65, float("nan"))], "does not fit its axes"),
        ([scale(0.65, -0.65)], "does not fit its axes"),
        ([{"type": "scale", "path": "steps"}], "in a separate array"),
        ([{"type": "affine", "affine": [[1, 0], [0, 1]]}], "'affine', which is not read"),
    ],
)
def test_a_scale_that_is_not_understood_is_no_pixel_size(tmp_path, own, says):
    assert says in str(refused(store(tmp_path / "a.zarr", own=own)))


# --- parts that are not there -------------------------------------------------------------------


def test_a_sharded_store_without_one_of_its_shards_is_not_whole(tmp_path):
    """The library counts the chunks of all shards as there."""
    path = store(tmp_path / "a.zarr", colonies((256, 256)), chunks=(16, 16), shards=(32, 32))
    assert read(path).pixels.shape == (256, 256)
    (path / "0" / "c" / "3" / "5").unlink()
    problem = refused(path)
    assert (problem.reason, "has 63 of 64 parts" in str(problem)) == ("truncated", True)


def with_a_dark_corner() -> np.ndarray:
    picture = PICTURE.copy()
    picture[:32, :32] = 0
    return picture


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_part_that_was_left_out_since_it_is_dark_is_dark(tmp_path, version):
    """As ome-zarr leaves them out; the smaller copies that it writes are dark there, too."""
    dark = with_a_dark_corner()
    path = store(tmp_path / "a.zarr", dark, version=version, copies=2)
    whole = {file.relative_to(path) for file in path.rglob("*")}
    assert not whole & {Path("0/0.0"), Path("0/c/0/0")}, "the library leaves it out"
    np.testing.assert_array_equal(read(path).pixels, dark)


@pytest.mark.parametrize("copies", [0, 2])
@pytest.mark.parametrize("dark", [False, True])
def test_a_part_that_was_lost_is_missed(tmp_path, copies, dark):
    """The smaller copies show that something was there. Without one nobody can tell."""
    picture = with_a_dark_corner() if dark else PICTURE
    path = store(tmp_path / "a.zarr", picture, copies=copies)
    (path / "0" / "c" / "2" / "1").unlink()
    known = 11 - (dark and not copies)
    assert f"has {known} of 12 parts" in str(refused(path))


def test_a_dark_part_without_a_smaller_copy_is_missed(tmp_path):
    """Nothing tells it from one that was lost."""
    problem = refused(store(tmp_path / "a.zarr", with_a_dark_corner()))
    assert (problem.reason, "write all parts" in str(problem)) == ("truncated", True)
    with zarr.config.set({"array.write_empty_chunks": True}):
        path = store(tmp_path / "b.zarr", with_a_dark_corner())
    np.testing.assert_array_equal(read(path).pixels, with_a_dark_corner())


def test_a_dark_chunk_within_a_shard_is_dark(tmp_path):
    """A shard is written whole: what it leaves out holds nothing."""
    dark = with_a_dark_corner()
    path = store(tmp_path / "a.zarr", dark, chunks=(32, 32), shards=(96, 128))
    np.testing.assert_array_equal(read(path).pixels, dark)


def test_a_store_without_pixels_is_no_picture(tmp_path):
    path = store(tmp_path / "a.zarr", np.zeros_like(PICTURE), copies=1)
    assert "has 0 of 12 parts" in str(refused(path))


# --- what it is, and what now -------------------------------------------------------------------


def bare_array(path: Path, version: int) -> Path:
    zarr.create_array(path, shape=(96, 128), dtype="u1", zarr_format=version)[:] = 7
    return path


def test_a_bare_array_is_named(tmp_path):
    for version in (2, 3):
        problem = refused(bare_array(tmp_path / f"{version}.zarr", version))
        assert problem.reason == "unsupported"
        assert "bare Zarr array of 96 x 128" in str(problem)
        assert "save it as OME-Zarr 0.4 or 0.5" in str(problem)


@pytest.mark.parametrize("version", ["0.1", "0.6", "0.6.dev3", "1.0"])
def test_another_version_is_named(tmp_path, version):
    problem = refused(store(tmp_path / "a.zarr", version=version))
    assert problem.reason == "unsupported"
    assert f"is OME-Zarr {version}, and 0.3, 0.4, 0.5 are read" in str(problem)


def test_a_version_that_is_not_said_is_told_by_its_coordinate_systems(tmp_path):
    """As 0.6 has them, with the axes within."""
    path = store(tmp_path / "a.zarr")
    about = json.loads((path / "zarr.json").read_text())
    ome = about["attributes"]["ome"]
    del ome["version"], ome["multiscales"][0]["axes"]
    ome["multiscales"][0]["coordinateSystems"] = [{"name": "physical", "axes": []}]
    (path / "zarr.json").write_text(json.dumps(about))
    assert "is OME-Zarr 0.6" in str(refused(path))


def group_of_pictures(path: Path, there: Sequence[str], named: Sequence[str] | None) -> Path:
    """As bioformats2raw lays pictures, and as writers lay named positions."""
    root = zarr.open_group(path, mode="w", zarr_format=3)
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    if named is not None:
        root.create_group("OME").attrs["ome"] = {"version": "0.5", "series": list(named)}
    for name in there:
        store(path.with_suffix(".one"))
        shutil.copytree(path.with_suffix(".one"), path / name)
    return path


GROUPS = {
    # name: (what is there, what is named, what is said; None = it is read)
    "one by number": (["0"], None, None),
    "one by name": (["Pos0"], ["Pos0"], None),
    "two by number": (["0", "1"], None, "holds 2 fields of view (0, 1)"),
    "two by name": (["A", "B"], ["A", "B"], "holds 2 fields of view (A, B)"),
    "one that is named is not there": ([], ["A"], "names an image 'A' that is not there"),
    "none": ([], None, "names none of the images"),
}


@pytest.mark.parametrize("case", GROUPS)
def test_named_pictures_are_counted_by_name(tmp_path, case):
    there, named, says = GROUPS[case]
    path = group_of_pictures(tmp_path / "a.zarr", there, named)
    if says is None:
        np.testing.assert_array_equal(read(path).pixels, PICTURE)
    else:
        assert says in str(refused(path))


@pytest.mark.parametrize("kind", ["plate", "well"])
def test_many_fields_in_one_store_are_named(tmp_path, kind):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    root.attrs["ome"] = {"version": "0.5", kind: {}}
    problem = refused(tmp_path / "a.zarr")
    assert f"is a {kind} of many fields of view" in str(problem)
    assert "one store for each field of view" in str(problem)


GROWING = {
    # name: what the writer has not written yet, and what is said
    "the group": (["zarr.json"], "has no zarr.json"),
    "the description": ([], "no OME metadata"),
    "the array": (["0"], "has no array '0'"),
    "all chunks": (["0/c"], "has 0 of 12 parts"),
    "half the description": ([], "cannot be decoded"),
}


@pytest.mark.parametrize("case", GROWING)
def test_a_store_that_still_grows_is_not_whole(tmp_path, case):
    """Whatever order its writer has; some write the description last."""
    lacks, says = GROWING[case]
    path = store(tmp_path / "a.zarr")
    for name in lacks:
        shutil.rmtree(path / name) if (path / name).is_dir() else (path / name).unlink()
    root = path / "zarr.json"
    if case == "the description":
        root.write_text(json.dumps(json.loads(root.read_text()) | {"attributes": {}}))
    elif case == "half the description":
        root.write_text(root.read_text()[:200])
    problem = refused(path)
    assert says in str(problem)
    assert problem.reason == ("corrupt" if case.startswith("half") else "truncated")
