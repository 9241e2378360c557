"""Training: it learns, it can be cut off and resumed, and the same seed gives the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.dataset import TrainingField
from model.network import PmfCNN, PmfCNNConfig
from model.preprocessing import Normalisation, normalise
from model.simulation.labelled import FIRST_TRAINING_SEED, LAST_TEST_SEED, simulated
from model.starter.local_contrast import local_contrast_labels, well_of
from model.starter.training_fields import simulated_fields
from model.train import (
    FieldGroup,
    Progress,
    TrainingSettings,
    balanced_group,
    draw_batch,
    draw_crop,
    fit,
)

SMALL = PmfCNNConfig(widths=(8, 8, 12), context_channels=12)
QUICK = TrainingSettings(crop_px=72, batch=4, learning_rate=5e-3, average_over_steps=10)


def two_textures(seed: int = 0, side: int = 192) -> TrainingField:
    """Smooth on the left, rough on the right, a strip between them unknown."""
    chance = np.random.default_rng(seed)
    flat = chance.normal(0, 0.2, (side, side)).astype(np.float32)
    flat[:, side // 2 :] += chance.normal(0, 1, (side, side - side // 2)).astype(np.float32)
    labels = np.zeros((side, side), np.uint8)
    labels[:, side // 2 :] = 1
    labels[:, side // 2 - 3 : side // 2 + 3] = 255
    return TrainingField(f"two textures {seed}", flat, labels)


def groups() -> list[FieldGroup]:
    return [FieldGroup("textures", [two_textures(0), two_textures(1)], 1.0)]


def weights_of(network: PmfCNN) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in network.state_dict().values()])


def trained(steps: int, work: Path | None = None, stop_after: int | None = None) -> PmfCNN:
    torch.manual_seed(0)

    class StopError(Exception):
        pass

    def stop(now: Progress) -> None:
        if stop_after is not None and now.step >= stop_after:
            raise StopError

    try:
        return fit(
            PmfCNN(SMALL),
            groups(),
            QUICK,
            steps=steps,
            seed=5,
            work=work,
            progress=stop,
            report_every_s=0,
            keep_every_s=0,
        )
    except StopError:
        return PmfCNN(SMALL)


def test_the_same_seed_gives_the_same_weights() -> None:
    assert torch.equal(weights_of(trained(4)), weights_of(trained(4)))


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole = trained(6)
    trained(6, tmp_path, stop_after=4)
    assert (tmp_path / "training.safetensors").exists()
    assert torch.equal(weights_of(trained(6, tmp_path)), weights_of(whole))


def test_a_state_that_was_cut_off_in_the_middle_is_no_state(tmp_path: Path) -> None:
    """Power fails while the file is written: begin anew, and end with the same weights."""
    trained(4, tmp_path, stop_after=3)
    state = tmp_path / "training.safetensors"
    state.write_bytes(state.read_bytes()[:-50])
    assert torch.equal(weights_of(trained(4, tmp_path)), weights_of(trained(4)))


def test_frozen_parts_stay_as_they_are() -> None:
    settings = replace(QUICK, frozen=("local",), keep_statistics=True)
    torch.manual_seed(0)
    before = PmfCNN(SMALL)
    kept = {name: value.clone() for name, value in before.state_dict().items()}
    after = fit(before, groups(), settings, steps=3, seed=0).state_dict()
    for name, value in kept.items():
        same = name.startswith("local.") or "running" in name or "num_batches" in name
        assert torch.equal(after[name], value) == same, name


def test_each_class_has_its_turn_however_rare_it_is() -> None:
    """One class covers 0.2 % of one field; a quarter of the crops still show it."""
    fields = [two_textures(0), two_textures(1)]
    fields[1].labels[100:112, 4:10] = 2
    group = balanced_group("rare", fields, 1.0)
    assert group.spots is not None
    assert len(group.spots) == 3
    plain = replace(group, spots=None)
    seen = {}
    for name, one in (("balanced", group), ("plain", plain)):
        crops = [draw_crop(one, QUICK, np.random.default_rng(i)) for i in range(120)]
        seen[name] = np.mean([(labels == 2).any() for _, labels in crops])
    assert seen["balanced"] > 0.3 > 0.15 > seen["plain"]


def test_a_state_of_another_run_is_not_resumed(tmp_path: Path) -> None:
    trained(3, tmp_path, stop_after=2)
    torch.testing.assert_close(weights_of(trained(5, tmp_path)), weights_of(trained(5)))


def test_crops_are_square_bent_and_hold_known_pixels() -> None:
    images, labels = draw_batch(groups(), QUICK, np.random.default_rng(0))
    assert images.shape == (4, 1, 72, 72)
    assert images.dtype == torch.float32
    assert labels.shape == (4, 72, 72)
    assert set(np.unique(labels.numpy())) <= {0, 1, 255}
    assert (labels != 255).float().mean() > 0.5


def test_a_field_smaller_than_a_crop_is_padded_with_unknown() -> None:
    tiny = [FieldGroup("tiny", [two_textures(0, 40)], 1.0)]
    _, labels = draw_batch(tiny, QUICK, np.random.default_rng(0))
    assert (labels == 255).any()
    assert (labels == 1).any()


# ------------------------------------------------------------------------ the starter's data


def test_simulated_fields_are_drawn_once_and_never_from_seeds_for_measuring(
    tmp_path: Path,
) -> None:
    assert FIRST_TRAINING_SEED > LAST_TEST_SEED
    first = simulated_fields(2, tmp_path)
    again = simulated_fields(2, tmp_path)
    for one, other in zip(first, again, strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.flat, other.flat)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert np.ptp(np.asarray(first[0].flat)) > 0


def test_a_simulated_field_covers_the_same_ground_at_any_pixel_size() -> None:
    for seed in range(3):
        one = simulated(seed, 160.0)
        assert one.pixel_size_um is not None
        assert one.image.shape[0] * one.pixel_size_um == pytest.approx(160, abs=5)


def test_local_contrast_finds_a_colony_and_drops_debris() -> None:
    chance = np.random.default_rng(0)
    row, column = np.mgrid[0:320, 0:320]
    colony = (row - 150) ** 2 + (column - 160) ** 2 < 80**2
    image = 130 + chance.normal(0, 0.7, colony.shape) + colony * chance.normal(0, 6, colony.shape)
    image[20:24, 20:24] -= 40
    flat = normalise(image.astype(np.float32), None, 2.5, Normalisation())
    labels = local_contrast_labels(flat, 2.5)
    assert (labels[20:24, 20:24] != 1).all()
    cells = np.count_nonzero(labels == 1) + np.count_nonzero(labels == 255) / 2
    assert cells == pytest.approx(np.count_nonzero(colony), rel=0.06)
    assert (labels[colony] != 0).mean() > 0.99


def test_a_round_well_and_its_diameter_are_found() -> None:
    row, column = np.mgrid[0:300, 0:320]
    image = np.where((row - 140) ** 2 + (column - 150) ** 2 < 120**2, 130, 3).astype(np.uint8)
    inside, diameter = well_of(image)
    assert diameter == pytest.approx(240, abs=3)
    assert inside[140, 150]
    assert not inside[5, 5]
