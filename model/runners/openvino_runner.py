"""Convolutions by OpenVINO, built from the weights themselves: nothing is traced or exported.

OpenVINO takes bfloat16 by itself where the processor has it. The precision is therefore always
said, and read back from what was compiled.
"""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import opset13 as ops
from torch import Tensor, nn

from model.runners.convolutions import Convolutions, RunnerName, Said

PRECISIONS: Final = {"float32": "f32", "bfloat16": "bf16"}
"""Ours -> OpenVINO's own word."""


class OpenVinoRunner:
    """precision : one of PRECISIONS

    Raises RuntimeError where OpenVINO computes in another precision than it was told.
    """

    same_bits = True

    def __init__(self, convolutions: Convolutions, precision: str) -> None:
        version = openvino.__version__.partition("-")[0]
        self.name = RunnerName("openvino", version, precision)
        self._convolutions, self._precision = convolutions, precision
        self._grids = tuple(convolutions.context_heads)
        self._local = _compiled(self._local_model(convolutions), precision)
        # Of two that differ in what they tell, most uses want one only.
        self._rest: dict[bool, openvino.CompiledModel] = {}

    @staticmethod
    def _local_model(convolutions: Convolutions) -> openvino.Model:
        image = ops.parameter([-1, 1, -1, -1], openvino.Type.f32)
        node = image
        for unit in convolutions.local:
            node = _unit(node, unit)
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


def _unit(node: openvino.Node, unit: nn.Sequential) -> openvino.Node:
    return ops.relu(_convolution(node, cast(nn.Conv2d, unit[0])))


def _convolution(node: openvino.Node, layer: nn.Conv2d) -> openvino.Node:
    made = ops.convolution(
        node,
        ops.constant(_array(layer.weight)),
        list(layer.stride),
        [0, 0],
        [0, 0],
        list(layer.dilation),
    )
    bias = _array(cast(Tensor, layer.bias)).reshape(1, -1, 1, 1)
    return ops.add(made, ops.constant(bias))


def _array(weights: Tensor) -> NDArray[np.float32]:
    return weights.detach().contiguous().numpy()
