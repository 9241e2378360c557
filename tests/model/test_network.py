"""The network: dense equals window by window, folding changes nothing, and it can learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.network import STRIP_ROWS, PmfCNN, PmfCNNConfig, VotingNetwork, pmfs_window_by_window
from model.pmf import pmf_loss
from tests.model.voters import of_voters

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8)
CONFIGS = {
    "window 64, stride 8": SMALL,
    "window 96, stride 8, grids 1 3 6 12": PmfCNNConfig(
        window_px=96,
        grids=(1, 3, 6, 12),
        voting_grids=(6, 12),
        widths=(4, 4, 6),
        context_channels=6,
    ),
    "window 128, stride 8, narrow view": PmfCNNConfig(
        window_px=128,
        grids=(1, 4, 16),
        voting_grids=(16,),
        vote_margin_px=40,
        widths=(4, 4, 6),
        context_channels=6,
        view_channels=4,
    ),
    "window 64, cells finer than the stride": PmfCNNConfig(
        grids=(1, 8, 16, 32),
        voting_grids=(16,),
        vote_margin_px=24,
        widths=(4, 6, 8),
        context_channels=8,
    ),
    "window 48, stride 4": PmfCNNConfig(
        window_px=48,
        stride_px=4,
        grids=(1, 2, 4, 12),
        voting_grids=(12,),
        widths=(4, 6),
        context_channels=6,
    ),
}


def trained_looking(config: PmfCNNConfig) -> PmfCNN:
    """A network whose normalisation has statistics, as after training."""
    torch.manual_seed(0)
    network = PmfCNN(config)
    network.train()
    for _ in range(3):
        network(torch.randn(2, 1, config.window_px + 32, config.window_px + 32))
    return network.eval()


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), more_rows=st.integers(0, 40), more_columns=st.integers(0, 40))
def test_one_pass_over_the_image_equals_every_window_alone(
    name: str, seed: int, more_rows: int, more_columns: int
) -> None:
    config = CONFIGS[name]
    network = trained_looking(config).folded()
    size = (config.window_px + more_rows, config.window_px + more_columns)
    image = torch.randn((1, 1, *size), generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        dense = network(image)
        slow = pmfs_window_by_window(network, image)
    for grid in config.grids:
        assert dense[grid].shape == slow[grid].shape
        difference = dense[grid].softmax(dim=2) - slow[grid].softmax(dim=2)
        assert difference.abs().max() <= 1e-4


def test_folding_the_normalisation_changes_nothing() -> None:
    network = trained_looking(SMALL)
    image = torch.randn(1, 1, 80, 96)
    with torch.inference_mode():
        for grid, logits in network.folded()(image).items():
            torch.testing.assert_close(logits, network(image)[grid], atol=1e-4, rtol=1e-4)


def test_pixels_outside_a_window_do_not_reach_it() -> None:
    network = trained_looking(SMALL)
    image = torch.randn(1, 1, 72, 72)
    other = image.clone()
    other[..., 64:, :] = 9.0
    other[..., :, 64:] = 9.0
    with torch.inference_mode():
        for grid in SMALL.grids:
            first, second = network(image)[grid], network(other)[grid]
            assert torch.allclose(first[..., 0, 0], second[..., 0, 0], atol=1e-5)
            assert not torch.allclose(first[..., 1, 1], second[..., 1, 1], atol=1e-5)


def test_one_batch_can_be_learnt_by_heart() -> None:
    """Two textures side by side: the network tells them apart after a few steps."""
    torch.manual_seed(1)
    image = torch.randn(1, 1, 96, 96)
    image[..., :48] = torch.nn.functional.avg_pool2d(image, 5, 1, 2)[..., :48] * 2
    labels = torch.zeros((1, 96, 96), dtype=torch.uint8)
    labels[..., 48:] = 1
    network = PmfCNN(SMALL)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    weights = dict.fromkeys(SMALL.grids, 1.0)
    losses = []
    for _ in range(60):
        loss = pmf_loss(network(image), labels, SMALL.windows, weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.35 * losses[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_survive_being_written_down(name: str) -> None:
    assert PmfCNNConfig.from_json(CONFIGS[name].to_json()) == CONFIGS[name]


def test_a_size_that_came_later_is_not_written_where_it_is_not_used() -> None:
    """A model's identity is over its sizes as written: those of older models must not change."""
    assert "view_channels" not in SMALL.to_json()
    assert PmfCNNConfig.from_json(SMALL.to_json()).view_channels == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_features_worked_out_in_strips_are_those_of_the_whole(batch: int) -> None:
    """More rows than a strip has, and a last strip that is not full."""
    network = VotingNetwork(trained_looking(SMALL))
    rows = 8 * (2 * STRIP_ROWS + 5)
    image = torch.randn(batch, 1, rows, 88)
    strips: list[torch.Size] = []
    hook = network.local[-1].register_forward_hook(lambda *call: strips.append(call[2].shape))
    with torch.inference_mode():
        found = network(image)[8]
        assert [shape[2] for shape in strips] == [STRIP_ROWS, STRIP_ROWS, 1]
        hook.remove()
        top, bottom = (network(image[:, :, first : first + 512])[8] for first in (0, 512))
    torch.testing.assert_close(found[..., : top.shape[-2], :], top, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        found[..., 64 : 64 + bottom.shape[-2], :], bottom, atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"stride_px": 5},
        {"window_px": 60},
        {"window_px": 32},
        {"voting_grids": (16,)},
        {"voting_grids": ()},
        {"widths": (8, 8)},
        {"vote_margin_px": 32},
    ],
    ids=lambda wrong: str(wrong),
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        PmfCNNConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0, 16])
def test_in_use_only_the_cells_that_vote_are_worked_out(margin: int) -> None:
    """As the learnt network says them, temperature and normalisation included."""
    config = replace(SMALL, vote_margin_px=margin)
    network, temperature = trained_looking(config), 0.6
    image = torch.randn(2, 1, 80, 96)
    with torch.inference_mode():
        logits, pmfs = network(image), VotingNetwork(network, temperature)(image)
    assert set(pmfs) == set(config.voting_grids)
    for grid, found in pmfs.items():
        wanted = torch.softmax(logits[grid] / temperature, dim=2)
        wanted = of_voters(wanted, config.windows, grid, margin)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_arithmetic_is_counted_from_the_layers() -> None:
    """A window alone: one position of the last layers, none of the borders that a field shares."""
    network = VotingNetwork(trained_looking(SMALL))
    side = SMALL.window_px
    counted = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda layer, _, result: counted.append(
                    layer.weight.numel() * result.shape[2] * result.shape[3]
                )
            )
    for shape in ((side, side), (side + 43, side + 8)):
        counted.clear()
        network(torch.zeros((1, 1, *shape)))
        assert network.multiply_adds(shape) == sum(counted)


@pytest.mark.parametrize("name", CONFIGS)
def test_some_cells_asked_for_alone_are_those_of_all(name: str) -> None:
    config = CONFIGS[name]
    network = trained_looking(config)
    image = torch.randn(2, 1, config.window_px + 16, config.window_px + 24)
    grid = config.voting_grids[-1]
    cells = range(grid // 4, grid - grid // 4)
    every, some = network(image), network(image, wanted={grid: cells})
    rows, columns = every[grid].shape[-2:]
    square = every[grid].view(2, grid, grid, config.classes, rows, columns)
    inner = square[:, cells.start : cells.stop, cells.start : cells.stop].flatten(1, 2)
    torch.testing.assert_close(some[grid], inner, rtol=1e-4, atol=1e-4)
    for other in set(config.grids) - {grid}:
        torch.testing.assert_close(some[other], every[other])
