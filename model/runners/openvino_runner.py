"""Convolutions by OpenVINO, built from the weights themselves: nothing is traced or exported.

OpenVINO takes bfloat16 by itself where the processor has it. The precision is therefore always
said, and read back from what was compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import opset13 as ops
from torch import Tensor, nn

from model.runners.convolutions import Convolutions, RunnerName, Said
from model.runners.torch_runner import TorchRunner

PRECISIONS: Final = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""Ours -> OpenVINO's own word for the layers that are of floating point."""
_LEVELS: Final = 256
_HEADROOM: Final = 1.3
"""Images hold more than the calibration pictures show; what is larger still is cut off."""
_LARGEST_WEIGHT: Final = 127


class OpenVinoRunner:
    """precision : one of PRECISIONS

    In int8 the local layers of more than a pixel, but for the first, take their inputs in 256 steps
    from 0 to the largest that the calibration pictures gave, and their weights in 255 steps,
    channel by channel; sums are of 32 bits. What else there is stays in float32.

    Behind the local layers torch goes on, but for bfloat16.

    calibration : for int8; images (1, 1, H, W) as `local` takes them
    Raises RuntimeError where OpenVINO computes in another precision than it was told.
    """

    def __init__(
        self,
        convolutions: Convolutions,
        precision: str,
        calibration: Sequence[Tensor] = (),
    ) -> None:
        version = openvino.__version__.partition("-")[0]
        self.name = RunnerName("openvino", version, precision)
        # torch's part of the work does not promise them.
        self.same_bits = precision == "bfloat16"
        self._convolutions, self._precision = convolutions, precision
        self._grids = tuple(convolutions.context_heads)
        largest = _largest_inputs(convolutions, calibration) if precision == "int8" else {}
        self._local = _compiled(self._local_model(convolutions, largest), precision)
        # Their results would have to be put in another order, layer by layer.
        self._behind = None if precision == "bfloat16" else TorchRunner(convolutions)
        # Of two that differ in what they tell, most uses want one only.
        self._rest: dict[bool, openvino.CompiledModel] = {}

    @staticmethod
    def _local_model(convolutions: Convolutions, largest: dict[int, float]) -> openvino.Model:
        """largest : of the layers in int8, the largest input."""
        image = ops.parameter([-1, 1, -1, -1], openvino.Type.f32)
        node = image
        for place, unit in enumerate(convolutions.local):
            node = _unit(node, unit, largest.get(place))
        return openvino.Model([node], [image], "local")

    @staticmethod
    def _rest_model(convolutions: Convolutions, *, every: bool) -> openvino.Model:
        wide = cast(nn.Conv2d, convolutions.local[-1][0]).out_channels
        features = node = ops.parameter([-1, wide, -1, -1], openvino.Type.f32)
        layers = []
        for unit in convolutions.context:
            node = _unit(node, unit)
            layers.append(node)
        whole = [_convolution(node, head) for head in convolutions.context_heads.values()]
        here = [_convolution(features, head) for head in convolutions.local_heads.values()]
        told = layers if every else layers[-1:]
        return openvino.Model([*told, *whole, *here], [features], "rest")

    def local(self, image: Tensor) -> Tensor:
        return self._run(self._local, image)[0]

    def rest(self, features: Tensor, *, every: bool) -> Said:
        if self._behind is not None:
            features = features.contiguous(memory_format=torch.channels_last)
            return self._behind.rest(features, every=every)
        if every not in self._rest:
            model = self._rest_model(self._convolutions, every=every)
            self._rest[every] = _compiled(model, self._precision)
        found = self._run(self._rest[every], features)
        heads = len(self._grids)
        return Said(
            found[: -2 * heads],
            dict(zip(self._grids, found[-2 * heads : -heads], strict=True)),
            dict(zip(self._grids, found[-heads:], strict=True)),
        )

    @staticmethod
    def _run(model: openvino.CompiledModel, given: Tensor) -> list[Tensor]:
        # Results are copies, so that the next strip does not write over them.
        found = model([np.ascontiguousarray(given.numpy())], share_inputs=True)
        return [torch.from_numpy(found[place]) for place in range(len(model.outputs))]


def _compiled(model: openvino.Model, precision: str) -> openvino.CompiledModel:
    settings = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    made = openvino.Core().compile_model(model, "CPU", settings)
    found = made.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != PRECISIONS[precision]:
        raise RuntimeError(f"OpenVINO computes in {found}, not in {precision}")
    return made


def _largest_inputs(convolutions: Convolutions, pictures: Sequence[Tensor]) -> dict[int, float]:
    """Of the layers that int8 suits: place among the local ones -> largest input."""
    largest: dict[int, float] = {}
    with torch.inference_mode():
        for values in pictures:
            for place, unit in enumerate(convolutions.local):
                if place and cast(nn.Conv2d, unit[0]).kernel_size[0] > 1:
                    largest[place] = max(largest.get(place, 0.0), _HEADROOM * float(values.max()))
                values = unit(values)
    return largest


def _unit(node: openvino.Node, unit: nn.Sequential, largest: float | None = None) -> openvino.Node:
    return ops.relu(_convolution(node, cast(nn.Conv2d, unit[0]), largest))


def _in_steps(weights: NDArray[np.float32]) -> openvino.Node:
    """Weights of one byte, of each channel in as many steps."""
    step = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / np.float32(_LARGEST_WEIGHT)
    step = np.maximum(step, np.finfo(np.float32).tiny)
    whole = ops.convert(ops.constant(np.round(weights / step).astype(np.int8)), openvino.Type.f32)
    return ops.multiply(whole, ops.constant(step.astype(np.float32)))


def _convolution(
    node: openvino.Node, layer: nn.Conv2d, largest: float | None = None
) -> openvino.Node:
    """largest : of its input, where the layer is to be in int8"""
    weights = _array(layer.weight)
    if largest is not None:
        low, high = (np.full((1, 1, 1, 1), value, np.float32) for value in (0.0, largest))
        node = ops.fake_quantize(node, low, high, low, high, _LEVELS)
    made = ops.convolution(
        node,
        ops.constant(weights) if largest is None else _in_steps(weights),
        list(layer.stride),
        [0, 0],
        [0, 0],
        list(layer.dilation),
    )
    bias = _array(cast(Tensor, layer.bias)).reshape(1, -1, 1, 1)
    return ops.add(made, ops.constant(bias))


def _array(weights: Tensor) -> NDArray[np.float32]:
    return weights.detach().contiguous().numpy()
