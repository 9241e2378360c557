"""A model on disk: a folder with weights, manifest and card; refused unless it is what it says.

    weights.safetensors   the numbers; never a pickle, since a pickle runs code when read
    manifest.json         sizes, classes, um/px, normalisation, data, scores, hash, canary
    card.md               what a person should know before trusting it
    doubt.safetensors     where the model can tell: what it learnt from, for `model.doubt`

A manifest may say anything, with its hash right: its sizes are held against limits, and the head of
the weights' file against them, before anything is built or read by them. Whoever loads a model then
checks the hash of the weights and runs the canary: a small picture drawn by a
formula, whose expected probabilities stand in the manifest. A library that computes something else
than it did at training time is so found out before it judges a dish.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model.classes import CellClass
from model.doubt.features import vector_length
from model.doubt.judge import Judge
from model.doubt.stored import DOUBT, judge_of, packed
from model.manifest import CARD, MANIFEST, PMF_CNN, ModelError, kind_of, read_json
from model.network import PmfCNN, PmfCNNConfig
from model.preprocessing import NORMALISATION, Normalisation, bend, normalise

FORMAT: Final = 1
WEIGHTS: Final = "weights.safetensors"
LARGEST_HEADER_BYTES: Final = 1 << 20
LARGEST_PARAMETERS: Final = 50_000_000
LARGEST_WINDOW_PX: Final = 1024
MOST_CHANNELS: Final = 2048
MOST_GRIDS: Final = 16
MOST_CANARY_OPERATIONS: Final = 200_000_000_000
"""Of the network on the canary: some seconds on one core. The starter's takes 10^9."""
CANARY_TOLERANCE: Final = 5e-3
"""Largest difference of a probability that is put down to another processor's rounding."""


@dataclass(frozen=True)
class Manifest:
    """What stands beside the weights.

    name : how people call the model
    network, um_per_pixel, normalisation, temperature : what the numbers mean (functional part)
    assumed_pixel_size_um : of images for which none is known; None: found image by image
    training : data, settings and seeds that it was made from
    scores : what was measured, each with the data that it was measured on
    doubt : what `model.doubt` needs beside its file, and that file's hash; None: the model cannot
        tell how far it may be trusted
    weights_sha256, canary : checked at each loading
    """

    name: str
    network: PmfCNNConfig
    um_per_pixel: float
    normalisation: Normalisation = field(default_factory=Normalisation)
    temperature: float = 1.0
    assumed_pixel_size_um: float | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    doubt: Mapping[str, Any] | None = None
    weights_sha256: str = ""
    canary: tuple[float, ...] = ()

    def functional(self) -> dict[str, Any]:
        """The part that, with the weights, decides every result."""
        values = {
            "format": FORMAT,
            "classes": {cell_class.name.lower(): int(cell_class) for cell_class in CellClass},
            "network": self.network.to_json(),
            "um_per_pixel": self.um_per_pixel,
            "normalisation": self.normalisation.to_json(),
            "temperature": self.temperature,
            "weights_sha256": self.weights_sha256,
        }
        if self.assumed_pixel_size_um is not None:
            values["assumed_pixel_size_um"] = self.assumed_pixel_size_um
        if self.doubt is not None:
            values["doubt"] = dict(self.doubt)
        return values

    @property
    def sha256(self) -> str:
        """Identity of the model: hash over its weights and the functional part."""
        text = json.dumps(self.functional(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The whole manifest as plain values."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            **self.functional(),
            "canary": list(self.canary),
            "training": dict(self.training),
            "scores": dict(self.scores),
        }


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its manifest, and where there is one, what tells how far it may be trusted."""

    network: PmfCNN
    manifest: Manifest
    judge: Judge | None = None


SMALLEST_CANARY_PX: Final = 96


def canary_image(side_px: int = SMALLEST_CANARY_PX) -> NDArray[np.float32]:
    """A small square picture by a formula: stripes, blobs, an edge and a fine grain."""
    row, column = np.mgrid[0:side_px, 0:side_px].astype(np.float64)
    grain = np.modf(np.sin(row * 12.9898 + column * 78.233) * 43758.5453)[0]
    picture = (
        120
        + 9 * np.sin(row / 1.7) * np.sin(column / 1.9) * (column > 40)
        + 25 * np.exp(-((row - 30) ** 2 + (column - 64) ** 2) / 30)
        + 12 * np.sin((row + column) / 5) * (row > 60)
        + 2 * grain
        + 0.2 * row
    )
    return np.asarray(picture, dtype=np.float32)


def run_canary(network: PmfCNN, manifest: Manifest) -> tuple[float, ...]:
    """Probabilities of some cells of the canary picture, by this network, here."""
    picture = canary_image(max(SMALLEST_CANARY_PX, manifest.network.window_px))
    flat = bend(normalise(picture, None, manifest.um_per_pixel, manifest.normalisation))
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        logits = network(torch.from_numpy(flat)[None, None])
    network.train(was_training)
    found: list[float] = []
    for grid in sorted(logits):
        pmfs = torch.softmax(logits[grid] / manifest.temperature, dim=2)[0]
        some = pmfs.reshape(-1, pmfs.shape[1], pmfs.shape[2] * pmfs.shape[3])[:: max(1, grid)]
        found += some[:, :, :: max(1, some.shape[2] // 2)].mean(dim=2).flatten().tolist()
    return tuple(round(value, 6) for value in found)


def save_model(folder: Path, model: Model, card: str) -> Manifest:
    """Write a model; hash and canary are filled in. The manifest comes last and whole.

    Raises ModelError where the folder cannot be written.
    """
    state = {
        name: value.detach().to("cpu", memory_format=torch.contiguous_format).contiguous()
        for name, value in model.network.state_dict().items()
    }
    content = save_tensors(state)
    network = model.network.cpu()
    manifest = replace(
        model.manifest,
        network=network.config,
        weights_sha256=hashlib.sha256(content).hexdigest(),
    )
    files = {WEIGHTS: content, CARD: card.encode()}
    doubt = None
    if model.judge is not None:
        files[DOUBT], doubt = packed(model.judge)
    manifest = replace(manifest, doubt=doubt, canary=run_canary(network, manifest))
    text = json.dumps({"kind": PMF_CNN, **manifest.to_json()}, indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        if model.judge is None:
            (folder / DOUBT).unlink(missing_ok=True)
        for name, data in {**files, MANIFEST: text.encode()}.items():
            part = folder / f".{name}.part"
            part.write_bytes(data)
            part.replace(folder / name)
    except OSError as error:
        raise ModelError(
            f"{folder}: the model cannot be written ({error.strerror}); "
            "choose a folder that can be written to and has room"
        ) from error
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a model, without loading its weights.

    Raises ModelError where it is missing, no manifest, or of a kind unknown here.
    """
    values = read_json(folder)
    kind = kind_of(folder, values)
    if kind != PMF_CNN:
        raise ModelError(
            f"{folder / MANIFEST}: a network of kind {kind!r}, where only one of kind {PMF_CNN!r} "
            "will do; use such a model"
        )
    if values.get("format") != FORMAT:
        raise ModelError(
            f"{folder / MANIFEST}: format {values.get('format')!r} is unknown here "
            f"(known: {FORMAT}); update the program or use a model made for it"
        )
    classes = {cell_class.name.lower(): int(cell_class) for cell_class in CellClass}
    if values.get("classes") != classes:
        raise ModelError(
            f"{folder / MANIFEST}: its classes are {values.get('classes')!r}, here they are "
            f"{classes}; use a model trained on these classes"
        )
    try:
        _check_sizes(values)
        normalisation = Normalisation(**values["normalisation"])
        assumed = values.get("assumed_pixel_size_um")
        manifest = Manifest(
            name=_text(values["name"]),
            network=PmfCNNConfig.from_json(values["network"]),
            um_per_pixel=float(values["um_per_pixel"]),
            normalisation=normalisation,
            temperature=float(values["temperature"]),
            assumed_pixel_size_um=None if assumed is None else float(assumed),
            training=dict(values.get("training", {})),
            scores=dict(values.get("scores", {})),
            doubt=None if values.get("doubt") is None else dict(values["doubt"]),
            weights_sha256=str(values["weights_sha256"]),
            canary=tuple(float(value) for value in values["canary"]),
        )
        _check_ranges(manifest)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{folder / MANIFEST}: not a complete manifest ({error!s}); "
            "copy the model folder again from its source"
        ) from error
    if normalisation.name != NORMALISATION:
        raise ModelError(
            f"{folder / MANIFEST}: needs the normalisation {normalisation.name!r}, here there is "
            f"{NORMALISATION!r}; use a model trained for it"
        )
    if values.get("sha256") != manifest.sha256:
        raise ModelError(
            f"{folder / MANIFEST}: its settings do not match its own hash: it was changed "
            "after the model was made; copy the model folder again from its source"
        )
    return manifest


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is not a name")
    return value


def _check_ranges(manifest: Manifest) -> None:
    """Raises ValueError for numbers with which nothing can be computed in useful time."""
    rule = manifest.normalisation
    limits: dict[str, tuple[float, float, float]] = {
        "um_per_pixel": (manifest.um_per_pixel, 0.2, 50),
        "temperature": (manifest.temperature, 0.01, 100),
        "background_um": (rule.background_um, 0.1, 10_000),
        "background_um / um_per_pixel": (rule.background_um / manifest.um_per_pixel, 1, 4096),
        "texture_px": (rule.texture_px, 1, 1024),
        "block_px": (rule.block_px, 1, 1024),
    }
    if manifest.assumed_pixel_size_um is not None:
        size = manifest.assumed_pixel_size_um
        limits["assumed_pixel_size_um"] = (size, 0.01, 1000)
        limits["assumed_pixel_size_um / um_per_pixel"] = (size / manifest.um_per_pixel, 0.01, 20)
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise ValueError(f"{name} is {value:g}; it must be between {low:g} and {high:g}")
    if not isinstance(rule.texture_px, int) or not isinstance(rule.block_px, int):
        raise ValueError("texture_px and block_px must be whole numbers")
    if not 0 < rule.quantile <= 1:
        raise ValueError(f"quantile is {rule.quantile}; it must be between 0 and 1")


def _check_sizes(values: Mapping[str, Any]) -> None:
    """Before anything is built by them: sizes of the network and of the canary.

    Raises ValueError for sizes that no model here has, KeyError where one is missing.
    """
    network = values["network"]
    if not isinstance(network, Mapping):
        raise ValueError("network is not a table of sizes")
    limits = {
        "window_px": LARGEST_WINDOW_PX,
        "stride_px": 64,
        "vote_margin_px": LARGEST_WINDOW_PX,
        "context_channels": MOST_CHANNELS,
        "view_channels": MOST_CHANNELS,
        "classes": 64,
    }
    lists = {
        "grids": LARGEST_WINDOW_PX,
        "voting_grids": LARGEST_WINDOW_PX,
        "widths": MOST_CHANNELS,
    }
    for name, value in network.items():
        if name in limits:
            _check_size(name, value, limits[name])
        elif name in lists:
            if not isinstance(value, list) or len(value) > MOST_GRIDS:
                raise ValueError(f"{name} is not a list of up to {MOST_GRIDS} sizes")
            for one in value:
                _check_size(name, one, lists[name])
    canary = values["canary"]
    if not isinstance(canary, list) or len(canary) > 100_000:
        raise ValueError("the canary is not a list of up to 100,000 numbers")


def _check_size(name: str, value: object, largest: int) -> None:
    least = 0 if name in ("view_channels", "vote_margin_px") else 1
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= largest:
        raise ValueError(
            f"{name} is {str(value)[:40]}; it must be a whole number from {least} to {largest:,}"
        )


def _shapes_of(config: PmfCNNConfig) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, types and shapes of the weights of such a network, without memory for them.

    Raises ValueError for a network that is larger, or works longer, than any here.
    """
    with torch.device("meta"):
        network = PmfCNN(config).eval()
    state = network.state_dict()
    parameters = sum(value.numel() for value in state.values())
    if parameters > LARGEST_PARAMETERS:
        raise ValueError(
            f"a network of {parameters:,} weights; models here have up to {LARGEST_PARAMETERS:,}"
        )
    # No layer is asked for more places than half the canary's sides give.
    places = (max(SMALLEST_CANARY_PX, config.window_px) // 2) ** 2
    if parameters * places > MOST_CANARY_OPERATIONS:
        raise ValueError(
            f"a network of {parameters:,} weights on windows of {config.window_px} pixels takes "
            "too long"
        )
    return {name: (_DTYPES[value.dtype], tuple(value.shape)) for name, value in state.items()}


_DTYPES: Final = {torch.float32: "F32", torch.int64: "I64"}


def _checked_weights(path: Path, config: PmfCNNConfig) -> bytes:
    """The weights' file, read only if its head holds what such a network needs.

    Raises OSError, or ValueError where it holds something else.
    """
    expected = _shapes_of(config)
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LARGEST_HEADER_BYTES, size - 8):
            raise ValueError(f"its header claims {length:,} bytes of {size:,}")
        try:
            head = json.loads(file.read(length))
            found = {
                name: (str(one["dtype"]), tuple(one["shape"]))
                for name, one in head.items()
                if name != "__metadata__"
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError("its header is not one") from error
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"{name[:80]}: {_told(found.get(name))} in the file, "
                f"{_told(expected.get(name))} by the manifest"
            )
    needed = 8 + length + sum(_BYTES[kind] * math.prod(shape) for kind, shape in expected.values())
    if size != needed:
        raise ValueError(f"{size:,} bytes, of which its header declares {needed:,}")
    return path.read_bytes()


_BYTES: Final = {"F32": 4, "I64": 8}


def _told(one: tuple[str, tuple[int, ...]] | None) -> str:
    return "nothing" if one is None else f"{one[0]} {' x '.join(map(str, one[1])) or 'alone'}"[:80]


def load_model(folder: Path) -> Model:
    """Read a model and check that it is what its manifest says and computes what it should.

    Raises ModelError: a file is missing or damaged, hash, classes, sizes or canary do not match.
    """
    manifest = read_manifest(folder)
    try:
        content = _checked_weights(folder / WEIGHTS, manifest.network)
    except ValueError as error:
        raise ModelError(
            f"{folder / WEIGHTS}: the weights do not fit the sizes in {MANIFEST} ({error}); "
            "copy the model folder again from its source"
        ) from error
    except OSError as error:
        raise ModelError(
            f"{folder / WEIGHTS}: cannot be read ({error.strerror}); "
            "a model folder holds weights.safetensors, manifest.json and card.md together"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.weights_sha256:
        raise ModelError(
            f"{folder / WEIGHTS}: hash {found[:12]} instead of {manifest.weights_sha256[:12]}: "
            "damaged, or of another model; copy the model folder again from its source"
        )
    try:
        tensors = load_tensors(content)
        network = PmfCNN(manifest.network)
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{folder / WEIGHTS}: the weights do not fit the sizes in {MANIFEST}; "
            f"copy the model folder again from its source ({str(error).splitlines()[0]})"
        ) from error
    network.eval()
    judge = None if manifest.doubt is None else _judge(folder, manifest, network)
    model = Model(network, manifest, judge)
    check_canary(model, folder)
    return model


def _judge(folder: Path, manifest: Manifest, network: PmfCNN) -> Judge:
    """Raises ModelError where the file is missing or not what the manifest says."""
    try:
        return judge_of(manifest.doubt or {}, folder / DOUBT, vector_length(network.seen_channels))
    except OSError as error:
        raise ModelError(
            f"{folder / DOUBT}: cannot be read ({error.strerror}); by {MANIFEST} the model has it: "
            "copy the model folder again from its source"
        ) from error
    except ValueError as error:
        raise ModelError(
            f"{folder / DOUBT}: does not fit {MANIFEST} ({error}); "
            "copy the model folder again from its source"
        ) from error


def check_canary(model: Model, folder: Path) -> None:
    """Raises ModelError where this machine does not compute what the manifest expects."""
    here = run_canary(model.network, model.manifest)
    expected = model.manifest.canary
    if len(here) != len(expected):
        raise ModelError(
            f"{folder}: the canary has {len(expected)} numbers instead of {len(here)}; "
            "copy the model folder again from its source"
        )
    # numpy's maximum keeps a NaN; Python's would pass over it.
    worst = float(np.abs(np.subtract(here, expected)).max(initial=0.0))
    if not worst <= CANARY_TOLERANCE:
        raise ModelError(
            f"{folder}: the canary image gives probabilities that are off by {worst:.3f} on this "
            "machine; the numerical libraries differ from those that the model was checked with: "
            "install the pinned versions"
        )
