"""The supervised segmentation process: the model resident, native crashes kept away from us."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING

from monitor.culture import FieldMeasurement
from monitor.errors import ModelRefusedError

if TYPE_CHECKING:
    from model.predict import Segmenter
    from monitor.segmentation.segmenter import FieldRequest

_segmenter: Segmenter | None = None


class SegmentationWorker:
    """One process that holds the model and measures captures, one at a time.

    Its work comes back as futures: CaptureError for a capture that cannot be judged,
    BrokenExecutor where the process died. `restart` then gives a fresh process.

    model : "starter" or a model's folder; threads : None = all processors
    """

    def __init__(self, model: str, threads: int | None) -> None:
        self._model = model
        self._threads = threads or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> tuple[str, str]:
        """Start the process and load the model. Returns the model's name and SHA-256.

        Raises ModelRefusedError where the model does not match its manifest or canary.
        """
        return self._executor().submit(_describe_model).result()

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        return self._executor().submit(_measure, request)

    def restart(self) -> None:
        """Drop the process, dead or stuck; the next capture gets a fresh one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            _end(pool, force=True)

    def stop(self, *, force: bool = False) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            _end(pool, force=force)

    def _executor(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # A fresh interpreter: forking a process that has threads and open databases is
            # how daemons come to hang.
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_begin,
                initargs=(self._model, self._threads, os.getpid()),
            )
        return self._pool


def _end(pool: ProcessPoolExecutor, *, force: bool) -> None:
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=not force, cancel_futures=True)
    if force:
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                process.kill()
        for process in processes:
            with contextlib.suppress(OSError, ValueError, AssertionError):
                process.join(5)


# --- inside the worker process -----------------------------------------------------------------

_refused: ModelRefusedError | None = None


def _begin(model: str, threads: int, parent: int) -> None:
    global _segmenter, _refused
    # Ctrl-C reaches the whole process group; the daemon decides when its worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    from monitor.segmentation.segmenter import load_segmenter

    try:
        _segmenter = load_segmenter(model, threads)
    except ModelRefusedError as problem:
        # An initializer that raises only says "broken pool"; the reason must reach a person.
        _refused = problem


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _loaded() -> Segmenter:
    if _refused is not None:
        raise _refused
    if _segmenter is None:
        raise RuntimeError("the worker was used before it was begun")
    return _segmenter


def _describe_model() -> tuple[str, str]:
    segmenter = _loaded()
    return segmenter.name, segmenter.sha256


def _measure(request: FieldRequest) -> FieldMeasurement:
    from monitor.segmentation.segmenter import measure

    return measure(_loaded(), request)
