"""Runners: all that this machine has say what the reference says, at every shape of image."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from model.checkpoint import Manifest, load_model
from model.manifest import ModelError
from model.network import STRIP_ROWS, PmfCNNConfig, VotingNetwork
from model.predict import STARTER
from model.runner_choice import (
    LARGEST_DIFFERENCE,
    RUNNERS,
    WORTH,
    difference,
    processor_flags,
    take_runner,
    timed,
)
from model.runners.convolutions import Runner, RunnerName
from model.runners.names import AUTO, REFERENCE, RUNNER_NAMES
from model.runners.torch_runner import BFloat16Runner, TorchRunner
from monitor.config.schema import ComputeConfig
from tests.model.test_network import trained_looking

WIDE = PmfCNNConfig(widths=(16, 24, 32), context_channels=32, voting_grids=(4, 8))
NARROW = PmfCNNConfig(
    window_px=40, stride_px=8, grids=(1, 5), voting_grids=(5,), widths=(16, 16, 32)
)
MANIFEST = Manifest("untrained", WIDE, 2.5)
HERE = [name for name, kind in RUNNERS.items() if kind.lacking is None]
OTHERS = [name for name in HERE if name != REFERENCE]
P, S = WIDE.window_px, WIDE.stride_px
SHAPES = {
    "one window": (P, P),
    "one row": (P, P + 9 * S),
    "one column": (P + 9 * S, P),
    "two columns": (P + 3 * S, P + S),
    "odd sides": (P + 37, P + 61),
    "strips": (P + (STRIP_ROWS + 5) * S, P + 3 * S),
    "strips, one column": (P + 2 * STRIP_ROWS * S, P),
}


@pytest.fixture(scope="module")
def network() -> VotingNetwork:
    return VotingNetwork(trained_looking(WIDE))


@cache
def starter() -> VotingNetwork:
    return VotingNetwork(load_model(STARTER).network)


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def said(network: VotingNetwork, runner: Runner, image: torch.Tensor) -> list[torch.Tensor]:
    """Pmfs and what the layers saw."""
    seen: list[torch.Tensor] = []
    network.runner = runner
    with torch.inference_mode():
        pmfs = network(image, seen)
    return [*pmfs.values(), *seen]


def picture(shape: tuple[int, int]) -> torch.Tensor:
    return torch.randn((1, 1, *shape), generator=torch.Generator().manual_seed(7))


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", OTHERS)
def test_every_shape_of_image_gives_what_the_reference_gives(network, name: str) -> None:
    """Also shapes at which libraries are known to be wrong without a word."""
    runner = RUNNERS[name].make(network.convolutions(), MANIFEST)
    exact = TorchRunner(network.convolutions())
    limit = {"float32": 1e-5, "bfloat16": 0.02, "int8": 0.1}[RUNNERS[name].precision]
    for shape in SHAPES.values():
        pairs = zip(
            said(network, exact, picture(shape)), said(network, runner, picture(shape)), strict=True
        )
        for expected, found in pairs:
            assert found.dtype == torch.float32
            assert found.shape == expected.shape
            assert relative(found, expected) < limit, (name, shape)


@pytest.mark.parametrize("name", OTHERS)
def test_windows_of_forty_pixels_one_beside_the_other(name: str) -> None:
    """Their features are so few that strided layers give one column: where AMX goes wrong."""
    network = VotingNetwork(trained_looking(NARROW))
    runner = RUNNERS[name].make(network.convolutions(), MANIFEST)
    exact = TorchRunner(network.convolutions())
    for shape in ((40, 40), (200, 40), (40, 200), (48, 48)):
        expected, found = (said(network, one, picture(shape))[0] for one in (exact, runner))
        assert relative(found, expected) < (0.1 if "int8" in name else 0.02)


@pytest.mark.parametrize("name", HERE)
def test_a_runner_says_whether_threads_change_its_bits(network, name: str) -> None:
    image = picture((P + 20 * S, P + 20 * S))
    for one in (network, starter()):
        results = []
        for number in (1, 2):
            with threads(number):
                runner = RUNNERS[name].make(one.convolutions(), MANIFEST)
                results.append(said(one, runner, image))
        alike = all(torch.equal(*pair) for pair in zip(*results, strict=True))
        assert alike or not runner.same_bits
        # In single precision the model that ships has never shown how many threads there were.
        assert alike or one is network or runner.name.precision != "float32"


@pytest.mark.parametrize("name", OTHERS)
def test_a_strip_is_not_written_over_by_the_next(network, name: str) -> None:
    runner = RUNNERS[name].make(network.convolutions(), MANIFEST)
    first = runner.local(picture((P, P)))
    kept = first.clone()
    runner.local(picture((P, P)) * 3)
    assert torch.equal(first, kept)


@pytest.mark.skipif(
    not {"avx512f", "avx512_bf16"} <= processor_flags(), reason="not optimised here"
)
def test_no_convolution_runs_in_a_form_that_nobody_optimised() -> None:
    """oneDNN has a reference for all that it knows no better way for, a hundred times slower."""
    program = """
import torch
from model.network import VotingNetwork
from model.runner_choice import RUNNERS
from model.checkpoint import load_model
from model.predict import STARTER
model = load_model(STARTER)
network = VotingNetwork(model.network)
image = torch.randn(1, 1, 256, 256)
for name in ("torch-float32", "torch-bfloat16"):
    network.runner = RUNNERS[name].make(network.convolutions(), model.manifest)
    print("runner", name, flush=True)
    with torch.inference_mode(), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
        network(image)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )
    for part in done.stdout.split("runner ")[1:]:
        run = [line.split(",") for line in part.splitlines() if ",exec,cpu,convolution," in line]
        # The starter's layers wider than a pixel; others may be run as matrix products.
        assert len(run) >= 10, part
        assert not [words[6] for words in run if "ref" in words[6]]


def test_openvino_runs_no_convolution_in_a_form_that_nobody_optimised(network) -> None:
    pytest.importorskip("openvino")
    runner = RUNNERS["openvino-float32"].make(network.convolutions(), MANIFEST)
    kinds = [
        node.get_rt_info()["primitiveType"].astype(str)
        for node in runner._local.get_runtime_model().get_ops()
        if "primitiveType" in node.get_rt_info() and "Convolution" in node.get_friendly_name()
    ]
    assert kinds
    assert not [kind for kind in kinds if "ref" in kind]


def test_small_images_are_run_in_float32_by_the_bfloat16_runner(network) -> None:
    """Where a layer gives next to nothing, bfloat16 saves nothing and may be wrong."""
    narrow = VotingNetwork(trained_looking(NARROW))
    runner = BFloat16Runner(narrow.convolutions())
    assert runner.local(picture((200, 40))).dtype == torch.float32
    assert runner.local(picture((200, 200))).dtype == torch.bfloat16


class Wrong(TorchRunner):
    """What a library does that computes nonsense without a word."""

    name = RunnerName("wrong", "1", "float32")

    def local(self, image: torch.Tensor) -> torch.Tensor:
        found = super().local(image)
        return found * 1.5 if image.shape[-1] == P else found


def test_what_is_wrong_at_one_column_alone_is_seen(network) -> None:
    network.runner = TorchRunner(network.convolutions())
    largest, mean = difference(network, MANIFEST, Wrong(network.convolutions()))
    assert largest > LARGEST_DIFFERENCE["float32"]
    assert mean > 0
    assert isinstance(network.runner, TorchRunner)
    assert not isinstance(network.runner, Wrong)


@pytest.mark.parametrize("name", HERE)
def test_a_runner_that_is_asked_for_is_taken(network, name: str) -> None:
    network.runner = TorchRunner(network.convolutions())
    take_runner(network, MANIFEST, name)
    library, precision = name.split("-")
    assert (network.runner.name.library, network.runner.name.precision) == (library, precision)
    assert network.runner.name.version[0].isdigit()


def test_left_to_itself_the_fastest_that_is_worth_it_is_taken(network) -> None:
    network.runner = TorchRunner(network.convolutions())
    take_runner(network, MANIFEST, AUTO)
    taken = network.runner
    if not isinstance(taken, TorchRunner):
        reference = TorchRunner(network.convolutions())
        assert timed(network, MANIFEST, taken) < 1.2 * timed(network, MANIFEST, reference)
        precision = taken.name.precision
        network.runner = reference
        assert difference(network, MANIFEST, taken)[0] <= LARGEST_DIFFERENCE[precision]


def test_a_runner_that_computes_nonsense_is_neither_taken_nor_obeyed(
    network, monkeypatch: pytest.MonkeyPatch
) -> None:
    network.runner = reference = TorchRunner(network.convolutions())
    monkeypatch.setitem(
        RUNNERS,
        "openvino-float32",
        replace(RUNNERS[REFERENCE], make=lambda convolutions, _: Wrong(convolutions), unasked=True),
    )
    monkeypatch.setitem(WORTH, "float32", 0.0)
    for name in ("torch-bfloat16", "openvino-bfloat16", "openvino-int8"):
        monkeypatch.delitem(RUNNERS, name)
    with pytest.raises(ModelError, match="gives other probabilities"):
        take_runner(network, MANIFEST, "openvino-float32")
    take_runner(network, MANIFEST, AUTO)
    assert network.runner is reference


def test_one_whose_name_nobody_knows_is_refused_with_those_that_are_known(network) -> None:
    with pytest.raises(ModelError, match="torch-bfloat16") as told:
        take_runner(network, MANIFEST, "torch-float64")
    assert "'torch-float64'" in str(told.value)


def test_what_a_processor_can_do_is_read_where_the_system_tells(tmp_path: Path) -> None:
    """A processor of another kind, by what its /proc/cpuinfo holds."""
    plain = tmp_path / "cpuinfo"
    plain.write_text("processor : 0\nflags\t\t: fpu sse2 avx2\n")
    assert processor_flags(plain) == {"fpu", "sse2", "avx2"}
    assert processor_flags(tmp_path / "none") == frozenset()


def test_the_names_are_those_of_the_table() -> None:
    assert set(RUNNER_NAMES) == {AUTO, *RUNNERS}
    assert set(get_args(ComputeConfig.model_fields["runner"].annotation)) == set(RUNNER_NAMES)


def test_the_reference_is_the_network_as_it_always_was(network) -> None:
    """Dense equals window by window, by whatever is not the runner."""
    image = picture((P + 2 * S, P + 2 * S))
    whole = said(network, TorchRunner(network.convolutions()), image)[0]
    for y, x in np.ndindex(3, 3):
        window = image[:, :, y * S : y * S + P, x * S : x * S + P]
        alone = said(network, TorchRunner(network.convolutions()), window)[0]
        assert (whole[..., y, x] - alone[..., 0, 0]).abs().max() < 1e-5
