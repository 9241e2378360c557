"""Files that describe pictures and come after them: index of a plate, companion of a set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tifffile

from tests.monitor.capture.pictures import colonies
from tests.monitor.capture.test_naming import plate_xml
from tests.monitor.commands.calls import DONE, call, spawn

PICTURE = colonies((600, 700))
FOLDER = "dish7__2026-11-29T03_00_00-Measurement 1"


def harmony(folder: Path) -> Path:
    """Two fields of a well as Harmony writes them, without their index."""
    images = folder / FOLDER / "Images"
    images.mkdir(parents=True)
    for field, picture in ((1, PICTURE), (2, PICTURE[::-1])):
        tifffile.imwrite(images / f"r01c01f0{field}p01-ch1sk1fk1fl1.tiff", picture)
    return images


def index(folder: Path, size_m: str) -> None:
    pictures = "".join(
        f"<Image><URL>r01c01f0{field}p01-ch1sk1fk1fl1.tiff</URL><ChannelID>1</ChannelID>"
        f'<ImageResolutionX Unit="m">{size_m}</ImageResolutionX>'
        f'<ImageResolutionY Unit="m">{size_m}</ImageResolutionY>'
        f"<AbsTime>2026-11-29T03:02:3{field}.37+01:00</AbsTime></Image>"
        for field in (1, 2)
    )
    (folder / "Index.idx.xml").write_text(f"<Data><Images>{pictures}</Images></Data>")


def readings(state: Path, dish: str = "dish7/A1") -> list[dict[str, Any]]:
    document = call("history", dish, "--all", "--format", "json", "--state", state).document
    return list(document["readings"])


@pytest.mark.parametrize("again", ["reprocess", "process"])
def test_an_index_that_comes_late_gives_size_and_time(tmp_path, again):
    """Harmony writes it when the plate is done; without it a plate had no size for ever."""
    images, state = harmony(tmp_path / "plates"), tmp_path / "state"
    words = [tmp_path / "plates"] if again == "process" else []
    assert spawn("process", tmp_path / "plates", "--state", state).code == DONE
    (before,) = readings(state)
    assert (before["at"], before["pixel_size_um"]) == ("2026-11-29T03:00:00+00:00", None)
    index(images, "2.0E-06")
    answer = spawn(again, *words, "--state", state, "--json")
    assert (answer.code, answer.document["recorded"]) == (DONE, 2)
    (after,) = readings(state)
    assert (after["at"][:16], after["pixel_size_um"]) == ("2026-11-29T02:02", 2.0)
    assert (after["captures"], after["version"]) == (2, 2)
    (images / "Index.idx.xml").unlink()  # what it said is on record
    assert spawn(again, *words, "--state", state, "--json").document["recorded"] == 0
    assert readings(state) == [after]


def test_a_companion_that_comes_late_gives_well_and_size(tmp_path):
    """The picture waits for it, since nothing else says which well it shows."""
    plate, state = tmp_path / "plate", tmp_path / "state"
    plate.mkdir()
    places = {0: (0, 0), 1: (1, 2)}
    size = 'SizeX="700" SizeY="600"'
    for image, picture in ((0, PICTURE), (1, PICTURE[::-1])):
        xml = plate_xml(image, places, companion="run.companion.ome")
        path = plate / f"run_p00{image}.ome.tif"
        tifffile.imwrite(path, picture, description=xml, metadata=None)
    found = spawn("process", plate, "--state", state, "--json").document
    assert (found["recorded"], found["waiting"], found["unreadable"]) == (0, 2, 0)
    assert {one["reason"] for one in found["not_recorded"]} == {"no-companion"}
    whole = plate_xml(0, places).replace('SizeX="4" SizeY="3"', size)
    for size_um in (0.65, 1.3):
        text = whole.replace('PhysicalSizeX="0.65"', f'PhysicalSizeX="{size_um}"')
        (plate / "run.companion.ome").write_text(text)
        found = spawn("process", plate, "--state", state, "--json").document
        assert (found["recorded"], found["dishes"]) == (2, ["run/A1", "run/B3"])
        assert [one["pixel_size_um"] for one in readings(state, "run/B3")][-1] == size_um
