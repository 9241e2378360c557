"""Measuring a model on real fields: one row a kind of picture, healthy fields by their fraction."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from model.labelled_files import DataError
from model.scale import CANDIDATE_SIZES_UM, ScaleEvidence
from model.segmentation import Segmentation
from model.starter.held_out import HELD_OUT, IPS, KINDS, group_of, is_held_out
from model.starter.measuring import (
    as_text,
    real_fields,
    score_field,
    scores_of,
    table_of,
)
from model.starter.real_images import burnt_in, images_of
from model.strips import Rows

DATA = Path(os.environ.get("COLONYWATCH_DATA", Path(__file__).parents[4] / "shared" / "data"))


class ByGrey:
    """Calls what is darker than 50 background, what is brighter than 150 differentiated."""

    name, sha256, window_um = "by grey", "0" * 64, 100.0

    def segment(
        self,
        image: NDArray[Any] | Rows,
        pixel_size_um: float | None,
        *,
        inside: NDArray[np.bool_] | Rows | None = None,
    ) -> Segmentation:
        assert isinstance(image, np.ndarray)
        grey = image.astype(float)
        planes = np.stack([grey < 50, (grey >= 50) & (grey <= 150), grey > 150])
        assumed = None if pixel_size_um else 2.4
        return Segmentation(
            planes.astype(np.float32), image.shape[:2], None, pixel_size_um, assumed, 0.0
        )


def write(folder: Path, name: str, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    for part, values in (("images", image), ("labels", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / part / f"{name}.png"), values)


def passage(data: Path) -> None:
    """Two lines: of the first, half of the cells are taken for differentiated."""
    labels = np.zeros((200, 200), np.uint8)
    labels[:, 100:] = 1
    image = np.where(labels == 1, np.uint8(100), np.uint8(0))
    half = image.copy()
    half[:100, 100:] = 200
    write(data / "passage", "aics-63-1_D1_10x", half, labels)
    write(data / "passage", "aics-58-1_main", image, labels)
    write(data / "passage", "aics-34-1_main", image, labels)
    (data / "passage" / "pixel_size_um.csv").write_text(
        "file,pixel_size_um\naics-63-1_D1_10x.png,1.5\naics-58-1_main.png,3\naics-34-1_main.png,3\n"
    )


def test_a_healthy_field_is_wrong_by_the_fraction_that_is_called_differentiated(
    tmp_path: Path,
) -> None:
    passage(tmp_path)
    table = table_of(scores_of(ByGrey(), tmp_path))
    assert set(table) == {"passage", "passage, 1 day after, 10x", "passage, whole 4x fields"}
    row = table["passage"]
    assert (row["fields"], row["groups"]) == (2, 2)
    assert row["fraction_error_mean"] == 0.25
    assert row["fraction_error_worst"] == 0.5
    assert row["cells_found_mean"] == 1.0
    assert row["jaccard"] == {
        "background": 1.0,
        "undifferentiated": 0.75,
        "differentiated": None,
    }
    assert row["mean_jaccard"] == 0.875
    assert row["fraction_error_interval"] == [0.0, 0.5]


def test_one_group_alone_has_no_interval(tmp_path: Path) -> None:
    passage(tmp_path)
    row = table_of(scores_of(ByGrey(), tmp_path))["passage, 1 day after, 10x"]
    assert row["mean_jaccard_interval"] is None
    assert row["fraction_error_interval"] is None


def test_what_is_learnt_from_is_measured_only_if_asked_for(tmp_path: Path) -> None:
    passage(tmp_path)
    names = {one.name for one in scores_of(ByGrey(), tmp_path, every=True)}
    assert "aics-34-1_main.png" in names
    assert names - {one.name for one in scores_of(ByGrey(), tmp_path)} == {"aics-34-1_main.png"}


def test_each_kind_is_read_without_its_pixel_size_if_asked_for(tmp_path: Path) -> None:
    passage(tmp_path)
    table = table_of(scores_of(ByGrey(), tmp_path, withheld=True))
    assert table["passage, pixel size withheld"]["assumed_pixel_sizes_um"] == [2.4, 2.4]
    assert table["passage"]["assumed_pixel_sizes_um"] == []


def test_a_burnt_in_bar_is_not_judged_but_unsure_outlines_of_a_healthy_field_are(
    tmp_path: Path,
) -> None:
    labels = np.zeros((200, 200), np.uint8)
    labels[:, 100:] = 1
    labels[50:60, 100:110] = 255
    labels[150:, 150:] = 255
    image = np.where(labels == 1, np.uint8(100), np.uint8(0))
    image[labels == 255] = 200
    write(tmp_path / "hipsc_phase", "aics-12-1", image, labels)
    (tmp_path / "hipsc_phase" / "pixel_size_um.csv").write_text(
        "file,pixel_size_um\naics-12-1.png,1.6\n"
    )
    assert burnt_in(labels).sum() == 50 * 50
    (one,) = real_fields(tmp_path, "hipsc_phase", every=False)
    found = score_field(ByGrey(), one)
    cells = int((labels == 1).sum())
    assert found.fraction_error == pytest.approx(100 / (cells + 100))
    assert found.recall == 1.0


def test_spread_cells_stand_for_differentiated_ones(tmp_path: Path) -> None:
    labels = np.zeros((100, 100), np.uint8)
    labels[20:40, 20:40] = 1
    write(tmp_path / "spread_cells_phase", "val_set46", labels * np.uint8(200), labels)
    row = table_of(scores_of(ByGrey(), tmp_path))["spread_cells_phase"]
    assert row["jaccard"] == {"background": 1.0, "undifferentiated": None, "differentiated": 1.0}
    assert row["fraction_error_mean"] == 0.0


def test_a_field_without_its_pixel_size_is_told(tmp_path: Path) -> None:
    passage(tmp_path)
    (tmp_path / "passage" / "pixel_size_um.csv").unlink()
    with pytest.raises(
        DataError, match=r"pixel_size_um\.csv: no pixel size of aics-58-1_main\.png"
    ):
        scores_of(ByGrey(), tmp_path)


def test_the_table_is_plain_json_and_one_line_a_row(tmp_path: Path) -> None:
    passage(tmp_path)
    table = table_of(scores_of(ByGrey(), tmp_path))
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    lines = as_text(table).splitlines()
    assert len(lines) == 2 + len(table)
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize(
    ("kind", "name", "group"),
    [
        ("passage", "aics-63-96_D1_10x.jpg", "aics-63"),
        ("passage", "aics-58-67_main.jpg", "aics-58"),
        ("hipsc_phase", "aics-5-50.jpg", "aics-5"),
        ("incubator_6well", "350_Scan_Well_A1_Xmm4.944_Ymm-0.997_Ch1_1um.tiff", "right"),
        ("incubator_6well", "350_Scan_Well_A1_Xmm-4.946_Ymm2.960_Ch1_1um.tiff", "left"),
        ("incubator_96well", "3500002873_Scan_Well_E10.tiff", "3500002873"),
        ("spread_cells_phase", "train_set5.jpg", "1 to 5"),
        ("spread_cells_phase", "train_set6.jpg", "6 to 10"),
        ("spread_cells_phase", "val_set50.jpg", "46 to 50"),
        ("ips_fields", "field02.png", "field02.png"),
    ],
)
def test_a_field_belongs_to_its_line_plate_or_sequence(kind: str, name: str, group: str) -> None:
    assert group_of(kind, name) == group


def test_the_fields_of_the_method_group_are_never_learnt_from() -> None:
    assert is_held_out(IPS, "field02.png")
    assert IPS not in HELD_OUT


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != IPS])
def test_of_each_kind_some_groups_are_held_out_and_some_learnt_from(kind: str) -> None:
    """A misspelt group would silently hold nothing out."""
    names = [path.name for path in images_of(DATA, kind)]
    if not names:
        pytest.skip(f"no real fields in {DATA / kind}; set COLONYWATCH_DATA")
    groups = {group_of(kind, name) for name in names}
    assert groups >= HELD_OUT[kind]
    assert groups - HELD_OUT[kind]


def starter(*wanted: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model.starter", *wanted],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )


def test_the_shipped_model_can_be_measured_by_the_command(tmp_path: Path) -> None:
    passage(tmp_path)
    done = starter("--measure", "model/weights/starter", "--real", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passage"]["fields"] == 2


@pytest.mark.parametrize(
    ("wanted", "code", "told"),
    [
        (["--measure", "model/weights/starter"], 2, "name it with --real"),
        (["--measure", "nowhere", "--real", "."], 1, "nowhere"),
        (["--measure", "model/weights/starter", "--real", "model"], 1, "no real fields in it"),
        ([], 2, "one of the arguments --out --draw --measure --calibrate --failures is required"),
    ],
)
def test_wrong_use_is_told(wanted: list[str], code: int, told: str) -> None:
    done = starter(*wanted)
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr


class OfOneScale(ByGrey):
    """Finds every image likeliest at 0.9 um/px; knows nothing else of scales."""

    assumed_pixel_size_um = None

    def scale_evidence(
        self, image: NDArray[Any] | Rows, inside: NDArray[np.bool_] | Rows | None = None
    ) -> ScaleEvidence:
        doubts = tuple(0.5 if size == 0.9 else 0.9 for size in CANDIDATE_SIZES_UM)
        return ScaleEvidence(doubts, 200.0, None)


def test_a_withheld_pixel_size_is_estimated_over_the_fields_that_were_taken_alike(
    tmp_path: Path,
) -> None:
    passage(tmp_path)
    sizes = table_of(scores_of(OfOneScale(), tmp_path, withheld=True))
    assumed = sizes["passage, pixel size withheld"]["assumed_pixel_sizes_um"]
    assert len(assumed) == 2
    assert assumed == pytest.approx([0.9, 0.9], rel=0.15)
