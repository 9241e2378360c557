"""The segmenter: any image in, a map of its own size out; tiles, masks and scales do not show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model import pmf_segmenter, segmentation
from model import preprocessing as preparation
from model.checkpoint import Manifest, Model
from model.classes import CellClass
from model.network import PmfCNN, PmfCNNConfig, pmfs_window_by_window
from model.pmf import votes_slow
from model.pmf_segmenter import PmfSegmenter
from model.predict import STARTER
from model.preprocessing import spread_evenly
from model.scale import LARGEST_UM, LEAST_UM
from model.segmentation import label_map

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8, voting_grids=(4, 8))


def untrained_model(margin: int = 0) -> Model:
    torch.manual_seed(0)
    config = PmfCNNConfig(
        widths=(4, 6, 8), context_channels=8, voting_grids=(4, 8), vote_margin_px=margin
    )
    network = PmfCNN(config)
    network.train()
    for _ in range(3):
        network(torch.randn(2, 1, 96, 96))
    return Model(network.eval(), Manifest("untrained", config, 2.5, temperature=0.7))


def untrained(tile_px: int = 1024, margin: int = 0) -> PmfSegmenter:
    return PmfSegmenter(untrained_model(margin), tile_px=tile_px)


class FewRows:
    """An image that gives not all of its rows at once."""

    def __init__(self, values: np.ndarray) -> None:
        self._values, self.shape, self.dtype = values, values.shape, values.dtype

    def rows(self, top: int, bottom: int) -> np.ndarray:
        assert 0 <= top < bottom <= self.shape[0]
        assert bottom - top <= self.shape[0] * 0.8
        return self._values[top:bottom]


def picture(seed: int, shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


@settings(max_examples=5, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(4, 40), st.integers(4, 40), st.sampled_from([64, 96, 136])
)
def test_tiles_leave_no_seams(seed: int, rows: int, columns: int, tile_px: int) -> None:
    flat = picture(seed, (rows * 8, columns * 8))
    whole, tiled = untrained().probabilities(flat), untrained(tile_px).probabilities(flat)
    assert whole.shape == (3, rows, columns)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    np.testing.assert_allclose(whole.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(("size_um", "masked"), [(1.0, True), (1.7, False), (2.5, True)], ids=str)
def test_an_image_in_strips_gives_the_same_as_the_whole(size_um: float, masked: bool) -> None:
    """Read, prepared and run a few rows at a time, whatever the scale and the mask."""
    shape = (1400, 130)
    image = (picture(5, shape) * 20 + 120).clip(0, 255).astype(np.uint8)
    row, column = np.mgrid[:1400, :130]
    inside = np.hypot(row - 600, column - 60) < 500
    mask = inside if masked else None
    whole = untrained().segment(image, size_um, inside=mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "STRIP_PIXELS", 8_000)
        patch.setattr(preparation, "KEPT_PIXELS", 0)
        for module in (pmf_segmenter, segmentation):
            patch.setattr(module, "COUNTED_BLOCKS", 100)
        strips = untrained(tile_px=160).segment(
            FewRows(image), size_um, inside=None if mask is None else FewRows(mask)
        )
    np.testing.assert_allclose(strips.probabilities, whole.probabilities, atol=1e-5)
    joined = [strips.label_rows(top, min(1400, top + 150)) for top in range(0, 1400, 150)]
    np.testing.assert_array_equal(np.concatenate(joined), strips.labels)
    assert strips.uncertainty == pytest.approx(whole.uncertainty, abs=1e-5)


@pytest.mark.parametrize("margin", [0, 16])
def test_the_fast_way_equals_every_window_cut_out_and_run_alone(margin: int) -> None:
    flat = picture(3, (88, 104))
    model = untrained_model(margin)
    fast = PmfSegmenter(model).probabilities(flat)
    padded = np.pad(flat, 32, mode="symmetric")
    network, temperature = model.network, model.manifest.temperature
    with torch.inference_mode():
        slow = pmfs_window_by_window(network, torch.from_numpy(padded)[None, None], (4, 8))
    pmfs = {grid: torch.softmax(logits / temperature, dim=2) for grid, logits in slow.items()}
    total, count = votes_slow(pmfs, network.config.windows, margin)
    mean = (total / np.maximum(count, 1))[:, 32:-32, 32:-32]
    np.testing.assert_allclose(np.kron(fast, np.ones((8, 8))), mean, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (61, 64), (333, 517)], ids=str)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "float64", "bool", "colour"])
def test_any_size_and_kind_of_image_gives_a_map_of_its_own_size(
    shape: tuple[int, int], kind: str
) -> None:
    values = picture(0, shape) * 20 + 100
    if kind == "colour":
        image = np.repeat(np.clip(values, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    elif kind == "bool":
        image = values > 100
    else:
        image = np.clip(values, 0, 255).astype(kind)
    found = untrained().segment(image, 1.3)
    assert found.labels.shape == shape
    assert found.labels.dtype == np.uint8
    assert set(np.unique(found.labels)) <= {0, 1, 2}
    assert found.probability(CellClass.DIFFERENTIATED).shape == shape
    assert 0 <= found.uncertainty <= 1
    assert found.assumed_pixel_size_um is None


@pytest.mark.parametrize("shape", [(1, 1), (61, 64), (333, 517)], ids=str)
def test_the_probability_at_some_pixels_is_that_of_the_whole_map(shape: tuple[int, int]) -> None:
    found = untrained().segment(picture(0, shape), 1.3)
    whole = found.probability(CellClass.UNDIFFERENTIATED)
    rows, columns = (np.arange(length // 3, length, 2) for length in shape)
    some = found.probability_at(CellClass.UNDIFFERENTIATED, rows, columns)
    np.testing.assert_allclose(some, whole[np.ix_(rows, columns)], atol=1e-6)


def test_outside_of_the_vessel_is_unknown_and_has_no_influence() -> None:
    image = picture(1, (240, 240)) * 5 + 130
    row, column = np.mgrid[0:240, 0:240]
    inside = (row - 120) ** 2 + (column - 120) ** 2 < 100**2
    dark = np.where(inside, image, 0)
    segmenter = untrained()
    first, second = (segmenter.segment(one, 2.5, inside=inside) for one in (image, dark))
    assert np.all(first.labels[~inside] == 255)
    assert np.all(first.labels[inside] <= 2)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_an_unknown_pixel_size_is_assumed_and_said() -> None:
    found = untrained().segment(picture(2, (100, 100)), None)
    assert found.pixel_size_um is None
    assert found.assumed_pixel_size_um is not None


def test_an_assumed_pixel_size_gives_what_the_same_size_given_would() -> None:
    segmenter, image = untrained(), picture(4, (120, 160))
    assumed = segmenter.segment(image, None)
    assert assumed.assumed_pixel_size_um is not None
    assert LEAST_UM <= assumed.assumed_pixel_size_um <= LARGEST_UM
    given = segmenter.segment(image, assumed.assumed_pixel_size_um)
    np.testing.assert_array_equal(assumed.labels, given.labels)


def test_a_quick_look_at_the_scale_says_about_the_same() -> None:
    segmenter, image = untrained(), picture(4, (160, 160))
    whole, quick = (segmenter.scale_evidence(image, quick=is_quick) for is_quick in (False, True))
    assert quick.doubts[::2] == pytest.approx(whole.doubts[::2], abs=0.02)
    assert (quick.side_px, quick.grain_px) == (whole.side_px, whole.grain_px)
    assert len(quick.doubts) == len(whole.doubts)


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_a_pixel_size_that_is_none_is_refused(size: float) -> None:
    with pytest.raises(ValueError, match="is not a pixel size"):
        untrained().segment(np.zeros((80, 80)), size)


def test_an_empty_image_and_a_mask_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        untrained().segment(np.zeros((0, 80)), 1.0)
    with pytest.raises(ValueError, match="must be equal"):
        untrained().segment(np.zeros((80, 80)), 1.0, inside=np.ones((80, 81), dtype=bool))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 70), st.integers(1, 70), st.integers(1, 69))
def test_strips_of_a_map_put_together_equal_the_whole(
    coarse: int, rows: int, columns: int, cut: int
) -> None:
    planes = np.random.default_rng(coarse).random((3, coarse, coarse + 2)).astype(np.float32)
    whole = spread_evenly(planes, (rows, columns), 0, rows)
    assert whole.shape == (3, rows, columns)
    middle = min(cut, rows - 1)
    if middle:
        parts = [
            spread_evenly(planes, (rows, columns), 0, middle),
            spread_evenly(planes, (rows, columns), middle, rows),
        ]
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)


def test_the_map_is_the_most_probable_class() -> None:
    planes = np.zeros((3, 2, 3), dtype=np.float32)
    planes[0, :, 0] = planes[1, :, 1] = planes[2, :, 2] = 1
    labels = label_map(planes, (600, 900))
    assert [int(labels[300, column]) for column in (10, 450, 890)] == [0, 1, 2]


# ------------------------------------------------------------------------- the shipped model

shipped = pytest.mark.skipif(not STARTER.exists(), reason="no starter model in this checkout")


@shipped
def test_the_starter_model_loads_and_is_small() -> None:
    segmenter = PmfSegmenter.load()
    assert segmenter.name == "starter"
    assert len(segmenter.sha256) == 64
    assert sum(p.stat().st_size for p in STARTER.iterdir()) < 10_000_000


@shipped
def test_the_starter_model_tells_the_classes_of_simulated_fields_apart() -> None:
    from model.metrics import confusion
    from model.simulation.fields import simulate_field

    segmenter = PmfSegmenter.load()
    counts = []
    for seed in range(2000, 2012):
        field = simulate_field(seed, shape=(400, 400), pixel_size_um=2.0)
        counts.append(
            confusion(field.labels, segmenter.segment(field.image, field.pixel_size_um).labels)
        )
    assert sum(counts[1:], counts[0]).mean_jaccard > 0.5


@shipped
def test_the_starter_model_finds_an_empty_dish_empty() -> None:
    chance = np.random.default_rng(0)
    noise = chance.normal(128, 3, (600, 600))
    labels = PmfSegmenter.load().segment(np.clip(noise, 0, 255).astype(np.uint8), 1.5).labels
    assert (labels == CellClass.BACKGROUND).mean() > 0.95


@shipped
def test_a_model_folder_can_be_named(tmp_path: Path) -> None:
    from model.manifest import ModelError

    assert PmfSegmenter.load(STARTER).sha256 == PmfSegmenter.load().sha256
    with pytest.raises(ModelError, match=r"manifest\.json"):
        PmfSegmenter.load(tmp_path)
