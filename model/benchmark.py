"""How fast the network is, beside the machine's limit and beside what others would run.

Machines are noisy, so whatever is compared is timed in turn, round by round, and the medians of
the rounds are given. The window-by-window run is timed on a sample of windows and scaled to all of
them; everything else is timed whole.
"""

from __future__ import annotations

import importlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from model.checkpoint import load_model
from model.network import VotingNetwork
from model.pmf import CLASSES, votes
from model.predict import STARTER
from model.simulation.fields import simulate_field

GEMM_SIDES: Final = (512, 1024, 1536)
POINTWISE_CHANNELS: Final = (128, 256, 512, 1024)
PRODUCT_RUNS: Final = 6
COPIED_FLOATS: Final = 32_000_000
SAMPLED_WINDOWS: Final = 512
BATCH: Final = 128
CHECKED_PX: Final = 256
FOREST_PIXELS: Final = 4000


@dataclass(frozen=True)
class Speed:
    """One run of the benchmark. Seconds are medians over the rounds, for a megapixel at the
    model's working scale.

    windowwise_theoretical : (P / S)^2, as if a window alone cost its share of the pixels at every
        layer; windowwise_arithmetic : the same from the counted arithmetic, unpadded layers
        included, which is what the dense pass can save
    gemm_gflops : single-precision matrix product of this machine in the same run, by the fastest of
        the libraries and sizes at hand (gemm_by says which)
    copy_gb_per_s : bytes read and written a second by a copy far larger than the caches
    network_gflops : counted arithmetic of the network over its time
    max_abs_difference : of probabilities, dense pass against every window run alone
    peers : name -> seconds per megapixel; skipped : name -> why it was not timed
    """

    megapixels: float
    network_seconds_per_megapixel: float
    windowwise_seconds_per_megapixel: float
    windowwise_speedup: float
    windowwise_theoretical: float
    windowwise_arithmetic: float
    max_abs_difference: float
    gemm_gflops: float
    gemm_by: str
    copy_gb_per_s: float
    network_gflops: float
    roofline_fraction: float
    threads: int
    peers: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def _rounds(one_round: Callable[[], dict[str, float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round by what was timed; the first round warms up and is not counted."""
    with torch.inference_mode():
        one_round()
        timed = [one_round() for _ in range(rounds)]
    return {name: [one[name] for one in timed] for name in timed[0]}


def network_speed(*, side_px: int = 1024, rounds: int = 5, seed: int = 1) -> Speed:
    """Time the starter model's network on a simulated field, and the peers on the same field.

    Long by all that is told of one measurement.

    side_px : side of the field at the model's working scale; 1024 is a megapixel
    """
    model = load_model(STARTER)
    network = VotingNetwork(model.network, model.manifest.temperature)
    scale_um = model.manifest.um_per_pixel
    image = simulate_field(seed, shape=(side_px, side_px), pixel_size_um=scale_um).image
    grey = image.astype(np.float32)
    flat = (grey - grey.mean()) / (grey.std() + 1e-6)
    tensor = torch.from_numpy(flat)[None, None]
    megapixels = side_px * side_px / 1e6
    windows = network.config.windows
    positions = windows.positions(side_px) ** 2
    flop = 2 * network.multiply_adds((side_px, side_px))
    peers, skipped = _peers(flat)
    products = _products()
    sample = _some_windows(flat, network, seed)
    source, target = torch.ones(COPIED_FLOATS), torch.empty(COPIED_FLOATS)

    def one_round() -> dict[str, float]:
        timed = {
            "copy": _seconds(lambda: target.copy_(source)),
            "network": _seconds(lambda: network(tensor)),
            "windowwise": _seconds(lambda: _run_windows(network, sample))
            * (positions / SAMPLED_WINDOWS),
        }
        # A limit is what can be had: the best of a few, without the first one's warming up.
        timed |= {
            name: min(_seconds(run) for _ in range(PRODUCT_RUNS))
            for name, (run, _) in products.items()
        }
        return timed | {name: _seconds(run) for name, run in peers.items()}

    runs = _rounds(one_round, rounds)
    median = {name: statistics.median(seconds) for name, seconds in runs.items()}
    rates = {name: flop / median[name] / 1e9 for name, (_, flop) in products.items()}
    gemm_by = max(rates, key=lambda name: rates[name])
    gemm = [products[gemm_by][1] / seconds / 1e9 for seconds in runs[gemm_by]]
    window = network.multiply_adds((windows.size_px, windows.size_px))
    achieved = [flop / seconds / 1e9 for seconds in runs["network"]]
    return Speed(
        megapixels=megapixels,
        network_seconds_per_megapixel=median["network"] / megapixels,
        windowwise_seconds_per_megapixel=median["windowwise"] / megapixels,
        windowwise_speedup=statistics.median(
            slow / fast for slow, fast in zip(runs["windowwise"], runs["network"], strict=True)
        ),
        windowwise_theoretical=(windows.size_px / windows.stride_px) ** 2,
        windowwise_arithmetic=positions * 2 * window / flop,
        max_abs_difference=_difference(network, flat[:CHECKED_PX, :CHECKED_PX]),
        gemm_gflops=statistics.median(gemm),
        gemm_by=gemm_by,
        copy_gb_per_s=2 * source.nbytes / median["copy"] / 1e9,
        network_gflops=statistics.median(achieved),
        roofline_fraction=statistics.median(
            ours / limit for ours, limit in zip(achieved, gemm, strict=True)
        ),
        threads=torch.get_num_threads(),
        peers={name: median[name] / megapixels for name in peers},
        skipped=skipped,
    )


def peak_rss_mb() -> float:
    """Peak resident memory of this process so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _products() -> dict[str, tuple[Callable[[], object], float]]:
    """Matrix products by every library at hand and their arithmetic, FLOP.

    Which one suits a processor differs: torch's own use narrow instructions on some, where its
    convolutions, of which one of 1 x 1 pixel is a matrix product, use wide ones.
    """
    made: dict[str, tuple[Callable[[], object], float]] = {}
    for side in GEMM_SIDES:
        matrix = torch.randn(side, side)
        plain = matrix.numpy()
        # A batch of 16: below that some versions leave oneDNN out on a single thread.
        image = torch.randn(16, side, 1, side // 16).to(memory_format=torch.channels_last)
        weight = torch.randn(side, side, 1, 1)
        flop = 2.0 * side**3
        made[f"torch {side}"] = (partial(torch.matmul, matrix, matrix), flop)
        made[f"numpy {side}"] = (partial(np.matmul, plain, plain), flop)
        made[f"oneDNN {side}"] = (partial(torch.nn.functional.conv2d, image, weight), flop)
    for channels in POINTWISE_CHANNELS:
        image = torch.randn(1, channels, 64, 64).to(memory_format=torch.channels_last)
        weight = torch.randn(channels, channels, 1, 1).to(memory_format=torch.channels_last)
        flop = 2.0 * channels**2 * 64**2
        made[f"oneDNN, {channels} channels"] = (
            partial(torch.nn.functional.conv2d, image, weight),
            flop,
        )
    return made


def _some_windows(flat: NDArray[np.float32], network: VotingNetwork, seed: int) -> torch.Tensor:
    """A random sample of the field's windows, cut out: (SAMPLED_WINDOWS, 1, P, P)."""
    windows = network.config.windows
    chance = np.random.default_rng(seed)
    count = windows.positions(flat.shape[0])
    corners = chance.integers(0, count, size=(SAMPLED_WINDOWS, 2)) * windows.stride_px
    cut = [
        flat[row : row + windows.size_px, column : column + windows.size_px]
        for row, column in corners
    ]
    return torch.from_numpy(np.stack(cut))[:, None]


def _run_windows(network: VotingNetwork, sample: torch.Tensor) -> None:
    for first in range(0, len(sample), BATCH):
        network(sample[first : first + BATCH])


def _difference(network: VotingNetwork, flat: NDArray[np.float32]) -> float:
    """Largest difference of a probability between the dense pass and every window alone."""
    config, windows = network.config, network.config.windows
    image = torch.from_numpy(np.ascontiguousarray(flat))[None, None]
    rows, columns = (windows.positions(length) for length in flat.shape)
    cut = [
        image[0, :, y : y + windows.size_px, x : x + windows.size_px]
        for y in range(0, rows * windows.stride_px, windows.stride_px)
        for x in range(0, columns * windows.stride_px, windows.stride_px)
    ]
    with torch.inference_mode():
        dense = _mean_votes(network(image), network)
        alone: dict[int, list[torch.Tensor]] = {grid: [] for grid in config.voting_grids}
        for first in range(0, len(cut), BATCH):
            part = network(torch.stack(cut[first : first + BATCH]))
            for grid, values in part.items():
                alone[grid].append(values[..., 0, 0])
        joined = {
            grid: torch.cat(parts).permute(1, 2, 0).reshape(1, -1, CLASSES, rows, columns)
            for grid, parts in alone.items()
        }
        return float((dense - _mean_votes(joined, network)).abs().max())


def _mean_votes(pmfs: dict[int, torch.Tensor], network: VotingNetwork) -> torch.Tensor:
    total, count = votes(pmfs, network.config.windows, network.config.vote_margin_px)
    return total / count.clamp_min(1)


# ------------------------------------------------------------------------------------ peers


def _peers(
    flat: NDArray[np.float32],
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """What others would run on the field: each whole, in one pass, which favours them.

    Random weights do for timing. Returns what can be run, and why the rest cannot.
    """
    made: dict[str, Callable[[], object]] = {}
    skipped: dict[str, str] = {}
    for name, make in (
        ("dynunet", _dynunet),
        ("basicunet", _basicunet),
        ("cellpose_cpnet", _cpnet),
        ("random_forest", _forest),
    ):
        try:
            made[name] = make(flat)
        except ImportError as problem:
            skipped[name] = f"not installed: {problem}"
    return made, skipped


def _dynunet(flat: NDArray[np.float32]) -> Callable[[], object]:
    """MONAI's DynUNet at the width that nnU-Net gives a two-dimensional set."""
    nets = importlib.import_module("monai.networks.nets")
    levels = 6
    network = nets.DynUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=CLASSES,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=[32, 64, 128, 256, 512, 512],
    ).eval()
    return _one_pass(network, flat)


def _basicunet(flat: NDArray[np.float32]) -> Callable[[], object]:
    nets = importlib.import_module("monai.networks.nets")
    return _one_pass(
        nets.BasicUNet(spatial_dims=2, in_channels=1, out_channels=CLASSES).eval(), flat
    )


def _cpnet(flat: NDArray[np.float32]) -> Callable[[], object]:
    """Cellpose's classic network, at the size of its published models."""
    torch_resnet = importlib.import_module("cellpose.resnet_torch")
    network = torch_resnet.CPnet([2, 32, 64, 128, 256], 3, 3, mkldnn=False).eval()
    return _one_pass(network, flat, channels=2)


def _one_pass(network: Any, flat: NDArray[np.float32], channels: int = 1) -> Callable[[], object]:
    sides = [length // 32 * 32 for length in flat.shape]
    image = torch.from_numpy(np.ascontiguousarray(flat[: sides[0], : sides[1]]))[None, None]
    image = image.repeat(1, channels, 1, 1).to(memory_format=torch.channels_last)
    network = network.to(memory_format=torch.channels_last)
    return lambda: network(image)


def _forest(flat: NDArray[np.float32]) -> Callable[[], object]:
    """Pixel classification: multiscale features and a random forest."""
    features = importlib.import_module("skimage.feature").multiscale_basic_features
    forest = importlib.import_module("sklearn.ensemble").RandomForestClassifier(
        n_estimators=50, max_depth=10, n_jobs=torch.get_num_threads(), random_state=0
    )
    image = (flat - flat.min()) / (flat.max() - flat.min() + 1e-6)
    chance = np.random.default_rng(0)
    first = features(image[:256, :256], sigma_max=16).reshape(256 * 256, -1)
    chosen = chance.choice(len(first), FOREST_PIXELS, replace=False)
    forest.fit(first[chosen], chance.integers(0, CLASSES, FOREST_PIXELS))

    def run() -> object:
        columns = features(image, sigma_max=16)
        return forest.predict(columns.reshape(-1, columns.shape[-1]))

    return run
