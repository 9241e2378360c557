"""The supervised segmentation process: the model resident, native crashes kept away from us."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from model.runners.names import REFERENCE
from monitor.culture import FieldMeasurement
from monitor.errors import ModelRefusedError, WorkerError
from monitor.segmentation.request import FieldRequest

if TYPE_CHECKING:
    from model.predict import Segmenter


STARTS_TRIED = 5


class LoadedModel(NamedTuple):
    """What the process has loaded; runner : what does its arithmetic, as of `Segmenter`."""

    name: str
    sha256: str
    runner: str


class SegmentationWorker:
    """One process that holds the model and measures captures, one at a time.

    Its work comes back as futures: CaptureError for a capture that cannot be judged,
    BrokenExecutor where the process died; the next capture then gets a fresh process.

    model : "starter" or a model's folder; threads : None = all processors
    runner : what is to do its arithmetic, one of `RUNNER_NAMES`
    """

    def __init__(self, model: str, threads: int | None, runner: str = REFERENCE) -> None:
        self._model = model
        self._runner = runner
        self._threads = threads or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None
        self._in_hand: Any = None
        self._given: WeakKeyDictionary[Future[FieldMeasurement], Any] = WeakKeyDictionary()

    @property
    def size(self) -> int:
        """How many captures are measured at a time."""
        return 1

    def begin(self) -> None:
        """Start the process; it loads the model while the caller does something else."""
        self._executor()

    def start(self) -> LoadedModel:
        """Have the process running and the model loaded.

        Raises ModelRefusedError where the model does not match its manifest or canary, and
        WorkerError where the process dies again and again.
        """
        for _ in range(STARTS_TRIED):
            try:
                return self._executor().submit(_describe_model).result()
            except BrokenExecutor:
                self.restart()
        raise WorkerError(
            f"the segmentation process died {STARTS_TRIED} times while it loaded the model; is "
            "there enough memory? See the system's log"
        )

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        try:
            future = self._executor().submit(_measure, request)
        except BrokenExecutor:
            # It died between two captures; a fresh one takes this.
            self.restart()
            future = self._executor().submit(_measure, request)
        self._given[future] = self._in_hand
        return future

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        """Was this the capture that the process had in hand when it died?

        A capture that only stood in its queue is not to blame.
        """
        in_hand = self._given.get(future)
        return in_hand is not None and in_hand.value == request_sha256.encode()

    @property
    def pid(self) -> int | None:
        """Of the process, once it runs."""
        processes = getattr(self._pool, "_processes", None) or {}
        return next(iter(dict(processes)), None)

    def restart(self) -> None:
        """Drop the process, dead or stuck; the next capture gets a fresh one."""
        self.stop(force=True)

    def stop(self, *, force: bool = False) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            _end(pool, force=force)

    def _executor(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # A fresh interpreter: forking a process that has threads and open databases is
            # how daemons come to hang.
            context = multiprocessing.get_context("spawn")
            # Shared with the process, so that it can still be read when the process is dead; and
            # without a lock, which a killed process might hold for ever.
            self._in_hand = context.Array("c", 65, lock=False)
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=context,
                initializer=_begin,
                initargs=(self._model, self._threads, self._runner, os.getpid(), self._in_hand),
            )
            # Ctrl-C goes to the whole process group, also to a process that has no handler yet.
            # What starts while the signal is held back never gets it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                self._pool.submit(os.getpid)
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
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

_segmenter: Segmenter | None = None
_refused: ModelRefusedError | None = None
_in_hand: Any = None


def _begin(model: str, threads: int, runner: str, parent: int, in_hand: Any) -> None:
    global _segmenter, _refused, _in_hand
    _in_hand = in_hand
    # Ctrl-C reaches the whole process group; the daemon decides when its worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Where memory runs out, the kernel is to end this process and not the daemon.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    threading.Thread(target=_end_with_parent, args=(parent,), daemon=True).start()
    from monitor.segmentation.measuring import load_segmenter

    try:
        _segmenter = load_segmenter(model, threads, runner)
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


def _describe_model() -> LoadedModel:
    segmenter = _loaded()
    return LoadedModel(segmenter.name, segmenter.sha256, segmenter.runner)


def _measure(request: FieldRequest) -> FieldMeasurement:
    from monitor.segmentation.measuring import measure

    segmenter = _loaded()
    _in_hand.value = request.sha256.encode()  # before the file is opened
    try:
        return measure(segmenter, request)
    finally:
        _in_hand.value = b""
