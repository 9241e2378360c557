"""What crosses to a worker of a Dask cluster, and what is done there. Loads torch only there."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from model.runners.names import REFERENCE
from monitor.capture.filesets import look_at_file, read_file
from monitor.capture.formats.sidecars import looks_beside
from monitor.capture.names.parts import shown_name
from monitor.culture import FieldMeasurement
from monitor.errors import CaptureError, ModelRefusedError
from monitor.segmentation.request import FieldRequest

if TYPE_CHECKING:
    from model.predict import Segmenter

# Larger ones go by a shared path: they would lie in the scheduler's memory.
MOST_BYTES = 512 * 2**20
# Of what stands beside a capture; its pixel size and time are small texts.
MOST_BESIDE_BYTES = 64 * 2**20
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sent:
    """One capture that is asked for.

    data : its bytes, packed where it is many files; None: the worker reads its path
    mtime_ns : when it was written
    beside : (place, content) of sidecars, the place relative to the folder above the capture's
    """

    request: FieldRequest
    data: bytes | None = None
    mtime_ns: int = 0
    beside: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class Answer:
    """files : what was drawn, by its path below the record's folder"""

    measurement: FieldMeasurement
    files: dict[str, bytes]


@dataclass(frozen=True)
class About:
    """A worker: its colonywatch and its model. refused : why that cannot be used"""

    version: str
    code: str
    model_name: str = ""
    model_sha256: str = ""
    runner: str = ""
    refused: str | None = None


def send(request: FieldRequest, captures: Literal["bytes", "shared"]) -> Sent:
    """Raises CaptureError where the capture is gone, cannot be read or is too large to be sent."""
    if captures == "shared":
        return Sent(request)
    path, shown = request.path, shown_name(request.path)
    try:
        look = look_at_file(path)
        if look.size > MOST_BYTES:
            raise CaptureError(
                f"{shown}: has {look.size / 2**20:.0f} MiB, too much to be sent to a cluster; let "
                "its workers read it from the same path: compute.captures: shared",
                reason="too-large-to-send",
                transient=True,
            )
        data = read_file(path)
        beside, room = [], MOST_BESIDE_BYTES
        for name, size, _ in looks_beside(path.parent):
            room -= size
            if room < 0:
                raise CaptureError(
                    f"{shown}: what stands beside it is too large to be sent to a cluster; let its "
                    "workers read it from the same path: compute.captures: shared",
                    reason="too-large-to-send",
                    transient=True,
                )
            place = Path(name).relative_to(path.parent.parent)
            beside.append((str(place), Path(name).read_bytes()))
    except FileNotFoundError as problem:
        raise CaptureError(
            f"{shown}: is no longer there", reason="missing", transient=True
        ) from problem
    except OSError as problem:
        raise CaptureError(
            f"{shown}: cannot be read ({problem.strerror})", reason="io-error", transient=True
        ) from problem
    return Sent(request, data, look.mtime_ns, tuple(beside))


# --- on the worker -------------------------------------------------------------------------------

# A worker with several threads measures one capture at a time: they would share one network.
_one_at_a_time = threading.Lock()


def about_worker(model: str | None, runner: str = REFERENCE) -> About:
    """model : as in the configuration; None: only which colonywatch this is"""
    here = version("colonywatch"), _code()
    if model is None:
        return About(*here)
    try:
        with _one_at_a_time:
            segmenter = _segmenter(model, runner)
    except ModelRefusedError as problem:
        return About(*here, refused=str(problem))
    return About(*here, segmenter.name, segmenter.sha256, segmenter.runner)


def measure_here(sent: Sent, model: str, sha256: str, runner: str = REFERENCE) -> Answer:
    """Raises CaptureError as `measure` does, and, transient, where this worker is not fit."""
    from monitor.segmentation.measuring import measure

    request = sent.request
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="colonywatch-") as name:
        try:
            segmenter = _segmenter(model, runner)
        except ModelRefusedError as problem:
            raise _unfit(request, str(problem)) from problem
        if segmenter.sha256 != sha256:
            raise _unfit(request, f"its model is {segmenter.sha256[:12]}, not {sha256[:12]}")
        drawn, path = Path(name, "drawn"), request.path
        if sent.data is not None:
            path = _laid_out(sent, Path(name, "in"))
        measured = measure(
            segmenter, replace(request, path=path, state_folder=drawn), packed=sent.data
        )
        files = [one for one in drawn.rglob("*") if one.is_file()]
        return Answer(measured, {str(one.relative_to(drawn)): one.read_bytes() for one in files})


def _laid_out(sent: Sent, folder: Path) -> Path:
    """The capture and what stands beside it, as they lie on the other machine."""
    original = sent.request.path
    path = folder / original.parent.name / original.name
    path.parent.mkdir(parents=True)
    for place, content in sent.beside:
        beside = folder / place
        if beside.resolve().is_relative_to(folder.resolve()):
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
    assert sent.data is not None
    path.write_bytes(sent.data)
    os.utime(path, ns=(sent.mtime_ns, sent.mtime_ns))
    return path


def _unfit(request: FieldRequest, why: str) -> CaptureError:
    return CaptureError(
        f"{shown_name(request.path)}: a worker of the cluster cannot be used: {why}",
        reason="worker-unfit",
        transient=True,
    )


@cache
def _segmenter(model: str, runner: str) -> Segmenter:
    from monitor.segmentation.measuring import load_segmenter

    return load_segmenter(model, None, runner)


@cache
def _code() -> str:
    """Of the code itself: two builds of one version number are not the same."""
    found = hashlib.sha256()
    for package in ("model", "monitor"):
        for file in sorted((_ROOT / package).rglob("*.py")):
            found.update(str(file.relative_to(_ROOT)).encode() + file.read_bytes())
    return found.hexdigest()[:8]
