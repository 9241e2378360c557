"""Segmentation on an existing Dask cluster, with the face of the local worker.

Dask hands a capture that was on a worker which died to another one; only where that happens again
and again is the capture to blame. What a worker writes (overlay, label map) comes back with its
answer, so that workers need no way to the record's folder.
"""

from __future__ import annotations

import logging
import threading
import time
import warnings
from concurrent.futures import BrokenExecutor, CancelledError, Future
from typing import TYPE_CHECKING, Any, Literal

from model.runners.names import REFERENCE
from monitor.capture.names.parts import shown_name
from monitor.culture import FieldMeasurement
from monitor.errors import CaptureError, WorkerError
from monitor.host.atomic_files import write_whole
from monitor.segmentation.cluster_task import About, Answer, about_worker, measure_here, send
from monitor.segmentation.request import FieldRequest
from monitor.segmentation.worker import LoadedModel

if TYPE_CHECKING:
    from distributed import Client
    from distributed import Future as DaskFuture

log = logging.getLogger(__name__)

CONNECT_S = 20
LOOK_EVERY_S = 5.0


class WorkerLostError(BrokenExecutor):
    """Workers died, one after the other, with this capture in hand."""


class ClusterWorker:
    """model : as in the configuration, and a path that holds on the workers, too

    sha256 : of the model, as the daemon's machine has it; workers that have another are not used
    captures : "bytes" travel with the question, "shared": workers read the same paths
    runner : of the network's arithmetic there, one of `RUNNER_NAMES`
    """

    def __init__(
        self,
        scheduler: str,
        model: str,
        sha256: str,
        captures: Literal["bytes", "shared"],
        runner: str = REFERENCE,
    ) -> None:
        self._scheduler = scheduler
        self._model = model
        self._sha256 = sha256
        self._captures = captures
        self._runner = runner
        self._client: Client | None = None
        self._fit: dict[str, About] = {}
        self._unfit: dict[str, str] = {}
        self._looked_at = 0.0
        self._asked: dict[Future[FieldMeasurement], DaskFuture] = {}
        self._lost: set[Future[FieldMeasurement]] = set()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """How many captures are measured at a time."""
        return max(1, len(self._fit))

    @property
    def pid(self) -> int | None:
        """None: its workers' memory is not this machine's."""
        return None

    def begin(self) -> None:
        """Connect. Raises WorkerError."""
        self._connected()

    def start(self) -> LoadedModel:
        """What the workers have loaded, once one is found that is fit.

        Raises WorkerError where there is no scheduler, no worker, or none that is fit.
        """
        self._look_at_workers(force=True)
        if not self._fit:
            why = "; ".join(self._unfit.values()) or (
                "it has no worker; start some with dask worker "
                f"{self._scheduler} --nthreads 1 where colonywatch is installed"
            )
            raise WorkerError(f"{self._scheduler}: no worker can measure captures: {why}")
        about = next(iter(self._fit.values()))
        return LoadedModel(about.model_name, about.model_sha256, about.runner)

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]:
        answer: Future[FieldMeasurement] = Future()
        answer.set_running_or_notify_cancel()
        try:
            sent = send(request, self._captures)
        except CaptureError as problem:
            answer.set_exception(problem)
            return answer
        self._look_at_workers()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")
            asked = self._connected().submit(
                measure_here,
                sent,
                self._model,
                self._sha256,
                self._runner,
                pure=False,
                # Only where some are not fit: a worker that comes in a dead one's place has another
                # address, and what is bound to addresses that have all gone is not given to it.
                workers=list(self._fit) if self._unfit else None,
            )
        with self._lock:
            self._asked[answer] = asked
        asked.add_done_callback(lambda done: self._take(done, answer, request))
        return answer

    def _take(
        self, done: DaskFuture, answer: Future[FieldMeasurement], request: FieldRequest
    ) -> None:
        """In a thread of the client's: its answer becomes ours."""
        with self._lock:
            if self._asked.pop(answer, None) is None:
                return
        try:
            if done.cancelled():
                answer.set_exception(CancelledError())
                return
            problem = done.exception()
            if problem is None:
                answer.set_result(_kept(done.result(), request))
            elif type(problem).__name__ == "KilledWorker":
                self._lost.add(answer)
                answer.set_exception(WorkerLostError(str(problem)))
            else:
                answer.set_exception(problem)
        except BaseException as problem:
            answer.set_exception(problem)

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool:
        """Did workers die with this capture in hand, again and again?"""
        return future in self._lost

    def restart(self) -> None:
        """Give up what is asked: it is asked anew."""
        with self._lock:
            asked, self._asked = self._asked, {}
        for answer, one in asked.items():
            one.cancel(force=True)
            answer.set_exception(CancelledError())

    def stop(self, *, force: bool = False) -> None:
        if force:
            self.restart()
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=5)

    def _connected(self) -> Client:
        if self._client is None:
            try:
                from distributed import Client
            except ModuleNotFoundError as problem:
                raise WorkerError(
                    "compute.engine: dask needs the extra: pip install 'colonywatch[dask]'"
                ) from problem
            try:
                self._client = Client(
                    self._scheduler, timeout=CONNECT_S, set_as_default=False, name="colonywatch"
                )
            except (OSError, TimeoutError, ValueError) as problem:
                raise WorkerError(
                    f"{self._scheduler}: no Dask scheduler answers ({problem}); is it running "
                    "(dask scheduler), and is compute.scheduler right?"
                ) from problem
        return self._client

    def _look_at_workers(self, *, force: bool = False) -> None:
        """Which of the cluster's workers are fit, asked of each once."""
        if not force and time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        client = self._connected()
        there = set(client.scheduler_info(n_workers=-1)["workers"])
        self._fit = {one: about for one, about in self._fit.items() if one in there}
        self._unfit = {one: why for one, why in self._unfit.items() if one in there}
        new = sorted(there - set(self._fit) - set(self._unfit))
        if not new:
            return
        told = client.run(about_worker, self._model, self._runner, workers=new, on_error="return")
        for address in new:
            about = told.get(address)
            why = self._why_unfit(address, about)
            if why is None:
                self._fit[address] = about
            else:
                self._unfit[address] = why
                log.warning("%s", why)

    def _why_unfit(self, address: str, about: Any) -> str | None:
        ours = about_worker(None)
        if not isinstance(about, About):
            return f"worker {address}: {_words_for(about)}"
        if (about.version, about.code) != (ours.version, ours.code):
            return (
                f"worker {address} has colonywatch {about.version} ({about.code}), this machine "
                f"{ours.version} ({ours.code}); install the same one on both"
            )
        if about.refused is not None:
            return f"worker {address}: {about.refused}"
        if about.model_sha256 != self._sha256:
            return (
                f"worker {address}: {self._model} is the model {about.model_sha256[:12]} there and "
                f"{self._sha256[:12]} on this machine; copy the same model to both"
            )
        return None


def _words_for(problem: Any) -> str:
    if isinstance(problem, ModuleNotFoundError):
        return f"colonywatch is not installed there ({problem}); install the same version"
    return f"cannot be asked ({problem!r}); has it the same Python and colonywatch?"


def _kept(answer: Answer, request: FieldRequest) -> FieldMeasurement:
    """Put what the worker drew into the record's folder. Raises CaptureError."""
    try:
        for name, content in answer.files.items():
            write_whole(request.state_folder / name, content)
    except OSError as problem:
        raise CaptureError(
            f"{shown_name(request.path)}: its overlay cannot be written to {request.state_folder} "
            f"({problem.strerror}); it is retried automatically",
            reason="state-folder",
            transient=True,
        ) from problem
    return answer.measurement
