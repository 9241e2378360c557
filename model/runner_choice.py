"""Which runner does a network's convolutions on this machine.

What the processor can do says which are worth a try; a look at two small pictures says whether one
agrees with the reference; and the clock says whether it is worth it. The same numbers of 16 bits
that are thrice as fast on one processor are slower than float32 on another which has them, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoint import Manifest, canary_image
from model.manifest import ModelError
from model.network import VotingNetwork
from model.preprocessing import bend, normalise
from model.runners.convolutions import Convolutions, Runner
from model.runners.names import AUTO, REFERENCE, RUNNER_NAMES
from model.runners.torch_runner import BFloat16Runner, TorchRunner

log = logging.getLogger(__name__)

PROBED_PX: Final = 256
ROUNDS: Final = 2
WORTH: Final = {"float32": 1.15, "bfloat16": 1.3, "int8": 1.5}
"""So many times faster than the reference a runner must be to be taken unasked: less of a gain
might be the clock's mood, and a lab's series would change hands from start to start."""
LARGEST_DIFFERENCE: Final = {"float32": 1e-4, "bfloat16": 0.1, "int8": 0.15}
MEAN_DIFFERENCE: Final = {"float32": 1e-5, "bfloat16": 3e-3, "int8": 1e-2}
"""Of a probability, on the canary pictures: several times what it is where all is well."""
CALIBRATION_SEEDS: Final = (1, 2)
CALIBRATION_PX: Final = 256
SHORT: Final = frozenset({"amx_bf16", "avx512_bf16"})
"""What processors are called that compute in bfloat16, in /proc/cpuinfo."""
BYTES: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""What they are called that sum up products of bytes."""


@dataclass(frozen=True)
class _Kind:
    """One way to run convolutions.

    precision : as `RunnerName` has it
    make : a runner of these convolutions of the model with this manifest
    package : that it needs beside what is always installed
    unasked : tried at start; each such try takes a fraction of a second
    """

    precision: str
    make: Callable[[Convolutions, Manifest], Runner]
    package: str | None = None
    unasked: bool = False

    @property
    def lacking(self) -> str | None:
        """What this machine has not, in words; None where it lacks nothing."""
        if self.precision == "bfloat16" and not SHORT & processor_flags():
            return "a processor with bfloat16 arithmetic (AMX-BF16 or AVX512-BF16)"
        if self.precision == "int8" and not BYTES & processor_flags():
            return "a processor that sums up products of bytes (VNNI or AMX-INT8)"
        if self.package is not None and find_spec(self.package) is None:
            return f"the package {self.package} (pip install 'colonywatch[{self.package}]')"
        return None


def _openvino(precision: str, convolutions: Convolutions, manifest: Manifest) -> Runner:
    # Loaded where it is wanted: it is an extra.
    make = import_module("model.runners.openvino_runner").OpenVinoRunner
    pictures = _calibration(manifest) if precision == "int8" else ()
    return cast(Runner, make(convolutions, precision, pictures))


def _calibration(manifest: Manifest) -> list[Tensor]:
    """Fields by which int8 learns how large the numbers between the layers are."""
    from model.simulation.fields import simulate_field

    side, size_um = max(CALIBRATION_PX, manifest.network.window_px), manifest.um_per_pixel
    fields = (
        simulate_field(seed, shape=(side, side), pixel_size_um=size_um).image
        for seed in CALIBRATION_SEEDS
    )
    return [_as_the_network_sees(field.astype(np.float32), manifest) for field in fields]


RUNNERS: Final[dict[str, _Kind]] = {
    REFERENCE: _Kind("float32", lambda convolutions, _: TorchRunner(convolutions)),
    "torch-bfloat16": _Kind(
        "bfloat16", lambda convolutions, _: BFloat16Runner(convolutions), unasked=True
    ),
    "openvino-float32": _Kind("float32", partial(_openvino, "float32"), "openvino"),
    "openvino-bfloat16": _Kind(
        "bfloat16", partial(_openvino, "bfloat16"), "openvino", unasked=True
    ),
    "openvino-int8": _Kind("int8", partial(_openvino, "int8"), "openvino"),
}


def processor_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """What the processor says that it can do; nothing where the system does not tell."""
    try:
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def take_runner(network: VotingNetwork, manifest: Manifest, wanted: str = REFERENCE) -> None:
    """Have the network's convolutions run by the runner that is wanted, or the fastest that agrees.

    wanted : a name of RUNNERS, or AUTO
    Raises ModelError for a runner that is unknown, that this machine does not have, or that does
    not compute here what the reference does.
    """
    if wanted != AUTO:
        network.runner = _asked_for(network, manifest, wanted)
        return
    network.runner = _fastest(network, manifest)


def _fastest(network: VotingNetwork, manifest: Manifest) -> Runner:
    """What is slower is not asked whether it agrees: that takes as long again."""
    best, best_gain = network.runner, 1.0
    tried = {name: kind for name, kind in RUNNERS.items() if kind.unasked and kind.lacking is None}
    if not tried:
        return best
    reference_s = timed(network, manifest, network.runner)
    slow: set[str] = set()
    for name, kind in tried.items():
        if kind.precision in slow:
            continue
        try:
            runner = kind.make(network.convolutions(), manifest)
            gain = reference_s / timed(network, manifest, runner)
            if gain < 1:
                slow.add(kind.precision)  # by whatever library: it is the processor
            if gain >= max(best_gain, WORTH[kind.precision]):
                best, best_gain = _agreeing(network, manifest, name, runner), gain
            log.debug("runner=%s gain=%.2f", runner.name, gain)
        except (ModelError, RuntimeError, ImportError) as problem:
            log.warning("the runner %s is left out: %s", name, problem)
    return best


def _asked_for(network: VotingNetwork, manifest: Manifest, wanted: str) -> Runner:
    kind = RUNNERS.get(wanted)
    if kind is None:
        raise ModelError(f"no runner is called {wanted!r}; known: {', '.join(RUNNER_NAMES)}")
    if kind.lacking is not None:
        raise ModelError(
            f"the runner {wanted} needs {kind.lacking}; choose another runner, or {AUTO!r} for the "
            "fastest that this machine has"
        )
    if wanted == REFERENCE:
        return network.runner
    try:
        return _agreeing(network, manifest, wanted, kind.make(network.convolutions(), manifest))
    except (RuntimeError, ImportError) as problem:
        raise ModelError(
            f"the runner {wanted} does not work on this machine ({str(problem).splitlines()[0]}); "
            "choose another"
        ) from problem


def _agreeing(network: VotingNetwork, manifest: Manifest, name: str, runner: Runner) -> Runner:
    """The runner, seen to agree with the reference. Raises ModelError where it does not."""
    largest, mean = difference(network, manifest, runner)
    precision = RUNNERS[name].precision
    # A number that is none is in agreement with nothing.
    if not (largest <= LARGEST_DIFFERENCE[precision] and mean <= MEAN_DIFFERENCE[precision]):
        raise ModelError(
            f"the runner {name} ({runner.name}) gives other probabilities than the reference on "
            f"the canary pictures (by {largest:.3f}, {mean:.4f} on average); choose another"
        )
    return runner


def difference(network: VotingNetwork, manifest: Manifest, runner: Runner) -> tuple[float, float]:
    """Largest and mean difference of a probability between a runner and the network's present one,
    on canary pictures: one of many windows, and ones of one window and of one column of windows.
    """
    differences = [
        torch.cat([(first - second).abs().flatten() for first, second in pairs])
        for image in _pictures(manifest)
        for pairs in [_both(network, runner, image)]
    ]
    return (
        float(torch.stack([one.max() for one in differences]).max()),
        float(torch.stack([one.mean() for one in differences]).max()),
    )


def _both(network: VotingNetwork, runner: Runner, image: Tensor) -> list[tuple[Tensor, Tensor]]:
    here = network.runner
    with torch.inference_mode():
        expected = network(image)
        network.runner = runner
        try:
            found = network(image)
        finally:
            network.runner = here
    return [(expected[grid], found[grid]) for grid in expected]


def timed(network: VotingNetwork, manifest: Manifest, runner: Runner) -> float:
    """Processor time of the canary picture by a runner, s: the least of some rounds."""
    image, here = _pictures(manifest)[0], network.runner
    seconds = []
    network.runner = runner
    try:
        with torch.inference_mode():
            for _ in range(1 + ROUNDS):  # the first one warms up
                began = time.process_time()
                network(image, [])
                seconds.append(time.process_time() - began)
    finally:
        network.runner = here
    return min(seconds[1:])


def _pictures(manifest: Manifest) -> list[Tensor]:
    """(1, 1, H, W) float32 each, normalised; the first is of many windows."""
    window, stride = manifest.network.window_px, manifest.network.stride_px
    side = max(PROBED_PX, window + 8 * stride)
    whole = _as_the_network_sees(canary_image(side), manifest)
    shapes = ((side, side), (window, window), (window + 3 * stride, window))
    return [whole[:, :, :rows, :columns].contiguous() for rows, columns in shapes]


def _as_the_network_sees(picture: NDArray[np.float32], manifest: Manifest) -> Tensor:
    flat = bend(normalise(picture, None, manifest.um_per_pixel, manifest.normalisation))
    return torch.from_numpy(np.ascontiguousarray(flat))[None, None]
