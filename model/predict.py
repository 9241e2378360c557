"""All that the monitor sees of the model: loading one, and an image in, a label map out.

What kind of network a model is stands in its manifest. The module of each kind is loaded when a
model of that kind is: nothing here needs torch.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from model.manifest import MANIFEST, PMF_CNN, ModelError, ModelSummary, kind_of, read_json
from model.preprocessing import to_grey
from model.runners.names import REFERENCE
from model.segmentation import Doubt, DoubtReason, Segmentation, Segmenter
from model.strips import Rows

__all__ = [
    "KINDS",
    "STARTER",
    "Doubt",
    "DoubtReason",
    "ModelError",
    "ModelSummary",
    "Rows",
    "Segmentation",
    "Segmenter",
    "load_segmenter",
    "summary_of",
    "to_grey",
]

STARTER: Final = Path(__file__).parent / "weights" / "starter"
"""Folder of the model that ships with the program."""

KINDS: Final[dict[str, str]] = {PMF_CNN: "model.pmf_segmenter"}
"""Of each kind of network the module that knows it; it has the two functions of `_Kind`."""


class _Kind(Protocol):
    def load(self, folder: Path, threads: int | None, runner: str) -> Segmenter:
        """The model in a folder, checked. threads : for arithmetic; None leaves it to the library

        runner : one of `RUNNER_NAMES`; a kind without convolutions need not heed it
        Raises ModelError where the model is not what its manifest says, or the runner cannot run.
        """
        ...

    def summary(self, folder: Path) -> ModelSummary:
        """What its manifest says, without its weights. Raises ModelError."""
        ...


def load_segmenter(
    folder: Path | None = None, *, threads: int | None = None, runner: str = REFERENCE
) -> Segmenter:
    """The model in a folder, of whatever kind; without one the starter model.

    threads : for arithmetic in this process; None leaves it to the library
    runner : what does its arithmetic, one of `RUNNER_NAMES`
    Raises ModelError where the model is missing, not what its manifest says, or of a kind that is
    unknown here, and where this machine does not have the runner.
    """
    folder = STARTER if folder is None else folder
    return _kind(folder).load(folder, threads, runner)


def summary_of(folder: Path) -> ModelSummary:
    """Name and identity of the model in a folder. Raises ModelError as `load_segmenter` does."""
    return _kind(folder).summary(folder)


def _kind(folder: Path) -> _Kind:
    kind = kind_of(folder, read_json(folder))
    if kind not in KINDS:
        raise ModelError(
            f"{folder / MANIFEST}: a network of kind {kind!r}, which is unknown here (known: "
            f"{', '.join(sorted(KINDS))}); update the program or use a model of a known kind"
        )
    return cast(_Kind, import_module(KINDS[kind]))
