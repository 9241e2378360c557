"""The recipe of the starter from end to end, on a network and a number of fields that are small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.checkpoint import Manifest
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter
from model.starter.measuring import scores_of, table_of
from model.starter.recipe import Extent, favour_differentiated, make_starter
from model.starter.settings import Stage
from model.train import TrainingSettings

SMALL = PmfCNNConfig(widths=(8, 8, 12), context_channels=12)
QUICK = TrainingSettings(crop_px=72, batch=2, learning_rate=5e-3)


def real_data(data: Path) -> None:
    """One kind of real fields: two lines, one of them held out by name."""
    chance = np.random.default_rng(0)
    folder = data / "passage"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for stem in ("aics-34-1_D1_4x", "aics-63-1_D1_4x"):
        labels = np.zeros((240, 260), np.uint8)
        labels[:, 130:] = 1
        image = (
            128 + chance.normal(0, 1, labels.shape) + labels * chance.normal(0, 20, labels.shape)
        )
        cv2.imwrite(str(folder / "images" / f"{stem}.png"), image.astype(np.uint8))
        cv2.imwrite(str(folder / "labels" / f"{stem}.png"), labels)
    (folder / "pixel_size_um.csv").write_text(
        "file,pixel_size_um\naics-34-1_D1_4x.png,3.6\naics-63-1_D1_4x.png,3.6\n"
    )


SHARES = {"passage": 0.2, "empty": 0.1}
STAGES = (Stage(2, SHARES, QUICK), Stage(3, SHARES, replace(QUICK, voters_only=True)))


def made(
    out: Path, work: Path, data: Path, stages: tuple[Stage, ...] = STAGES, base: Path | None = None
) -> Manifest:
    return make_starter(
        out,
        stages=stages,
        real=data,
        work=work,
        count=2,
        config=SMALL,
        base=base,
        extent=Extent(validated=1, tested=1, noise=2, known=3, judged=2),
    )


def test_a_starter_comes_with_its_card_its_held_out_lines_and_the_same_scores_as_the_measure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one test, since all of it is of one run; a second run goes on to the same weights."""
    data, work, out = tmp_path / "data", tmp_path / "work", tmp_path / "starter"
    real_data(data)
    manifest = made(out, work, data)
    told = capsys.readouterr().err
    assert "held out: passage: background" in told
    assert "fraction wrong by" in told
    assert manifest.training["held_back"]["passage"] == ["aics-63-1_D1_4x.png"]
    assert manifest.training["real"]["passage"] == ["aics-34-1_D1_4x.png"]
    row = manifest.scores["real"]["passage"]
    assert row["fields"] == 1
    assert table_of(scores_of(PmfSegmenter.load(out), data))["passage"] == row
    card = (out / "card.md").read_text(encoding="utf-8")
    assert "| passage " in card
    assert "aics-63-1_D1_4x.png" in card
    assert "None were measured" not in card
    assert "](failures.jpg)" in card
    drawn = cv2.imread(str(out / "failures.jpg"))
    assert drawn is not None
    assert drawn.shape[1] > 3 * 250
    assert "2 steps of 2 crops of 72 pixels, all cells" in card
    assert "3 steps of 2 crops of 72 pixels, the cells that vote" in card
    assert made(tmp_path / "again", work, data).sha256 == manifest.sha256
    onwards = made(tmp_path / "onwards", work, data, STAGES[-1:], out).training["begun_with"]
    assert onwards["sha256"] == manifest.sha256
    assert [stage["steps"] for stage in onwards["training"]["stages"]] == [2, 3]
    begun = f"begun with the layers of the model `{manifest.sha256[:12]}`"
    assert begun in (tmp_path / "onwards" / "card.md").read_text(encoding="utf-8")


def test_odds_are_multiplied_in_what_votes_and_nowhere_else() -> None:
    torch.manual_seed(0)
    network = PmfCNN(SMALL).eval()
    image = torch.randn(1, 1, 96, 96)
    before = network(image)
    favour_differentiated(network, 0.5, 3.0)
    after = network(image)
    for grid in SMALL.grids:
        old, new = (one[grid].div(0.5).softmax(2) for one in (before, after))
        ratio = (new[:, :, 2] / new[:, :, 1]) / (old[:, :, 2] / old[:, :, 1])
        wanted = 3.0 if grid in SMALL.voting_grids else 1.0
        torch.testing.assert_close(ratio, torch.full_like(ratio, wanted), rtol=1e-3, atol=1e-3)
