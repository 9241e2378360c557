"""Captures go to the segmentation worker; its answers become measurements, waits, or reasons."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from monitor.capture.names.patterns import shown_name
from monitor.capture.quality.consistency import KEPT, ImageStats, unlike
from monitor.config import Config, settings_sha256
from monitor.culture import UNLISTED, Capture, FieldMeasurement, NamedParts
from monitor.errors import CaptureError, LeftOutError, ModelRefusedError
from monitor.host.clock import Clock
from monitor.host.log_text import doubt_text, number_text
from monitor.jobs.settle_scales import settle_scales
from monitor.jobs.take_in import Intake
from monitor.jobs.watch_silence import tell_of_equal_pictures
from monitor.record.capture_states import is_again
from monitor.record.scan_places import NewMeasurement, ScanPlace
from monitor.record.store import Store
from monitor.segmentation.request import FieldRequest

log = logging.getLogger(__name__)

CRASHES_ALLOWED = 2


class Worker(Protocol):
    """Where captures are measured: a local process, or a cluster whose client has this form."""

    def submit(self, request: FieldRequest) -> Future[FieldMeasurement]: ...

    def died_with(self, future: Future[FieldMeasurement], request_sha256: str) -> bool: ...


@dataclass(frozen=True, eq=False)
class InWork:
    capture: Capture
    named: NamedParts
    future: Future[FieldMeasurement]


class Measuring:
    """owner : the name under which captures are claimed

    roots, forgotten, left_out_late, reopened : as of `Pipeline`
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        worker: Worker,
        intake: Intake,
        clock: Clock,
        *,
        owner: str,
        roots: Sequence[Path] = (),
    ) -> None:
        self._config = config
        self._store = store
        self._worker = worker
        self._intake = intake
        self._clock = clock
        self._owner = owner
        self._roots = sorted(roots, key=lambda root: -len(root.parts))
        self._looks: dict[str, deque[ImageStats]] = {}
        self._claimed: deque[Capture] = deque()
        self.forgotten: deque[Path] = deque(maxlen=10_000)
        self.left_out_late: deque[tuple[Path, str, str]] = deque()
        self.reopened: set[int] = set()

    def start_due(
        self, limit: int, *, only: Collection[int] | None = None, ahead: int = 0
    ) -> list[InWork]:
        """Claim up to `limit` captures and hand them to the worker.

        ahead : so many are claimed at once for later calls, each of which costs a transaction
        """
        if limit <= 0:
            return []
        if len(self._claimed) < limit and only != ():
            self._claimed += self._store.captures.claim_due(
                self._owner, self._clock(), limit=max(limit, ahead) - len(self._claimed), only=only
            )
        started: list[InWork] = []
        while self._claimed and len(started) < limit:
            capture = self._claimed.popleft()
            settings = self._config.settings_of(capture.source)
            if capture.sha256 is None:
                self._look_again(capture)
                continue
            try:
                choice = self._intake.chooser.choose(capture.path, settings)
            except CaptureError as problem:
                if problem.transient:
                    self._wait(capture, problem)
                else:
                    self._set_aside(capture, problem)
                continue
            if choice.left_out is not None:
                # The settings have changed, or a better one of its field has come, since then.
                self._leave_out(capture, choice.left_out)
                continue
            named = choice.named
            request = FieldRequest(
                path=capture.path,
                sha256=capture.sha256,
                named=named,
                settings=settings,
                settings_sha256=settings_sha256(self._config, settings),
                state_folder=self._config.record.folder,
                removal=self._config.decisions.removal,
                scales=self._store.scales.in_use(capture, named.dish),
            )
            future = self._worker.submit(request)
            started.append(InWork(capture, named, future))
        return started

    def take_over(self, claimed: Collection[Capture]) -> None:
        """Captures that are claimed in our name already: the next to be started."""
        self._claimed += claimed

    def finish_all(self, works: Sequence[InWork]) -> list[int | None]:
        """Write down what the worker said of captures. Returns the scan of each, if it has one now.

        What was measured is one transaction.
        """
        answers = [self._answer_to(work) for work in works]
        answers = [
            None if measured is None else self._compared(measured, work.capture.source)
            for work, measured in zip(works, answers, strict=True)
        ]
        found = iter(
            self._store.captures.record_measurements(
                [
                    NewMeasurement(work.capture.id, self._place(work), measured)
                    for work, measured in zip(works, answers, strict=True)
                    if measured is not None
                ],
                self._owner,
                self._clock(),
            )
            if any(answers)
            else []
        )
        scans = [None if measured is None else next(found) for measured in answers]
        if any(
            scan is None and measured is not None
            for scan, measured in zip(scans, answers, strict=True)
        ):
            self.tell_of_equal_pictures()
        self.reopened.update(
            settle_scales(
                self._store,
                [
                    (work.capture.id, work.capture.source, measured)
                    for work, measured in zip(works, answers, strict=True)
                    if measured is not None
                ],
                self._clock(),
                reopens=not is_again(self._owner),
            )
        )
        for work, measured in zip(works, answers, strict=True):
            if measured is not None:
                log.info(
                    "capture=%s dish=%s fraction=%s confluence=%s took_s=%.2f%s",
                    shown_name(work.capture.path),
                    work.named.dish,
                    number_text(measured.areas.differentiated_fraction),
                    number_text(measured.areas.confluence),
                    measured.took_s,
                    doubt_text((*measured.doubts, *measured.doubt.reasons)),
                )
        return scans

    def tell_of_equal_pictures(self) -> None:
        """One picture that came for several dishes is a fault of the imager: somebody must hear."""
        tell_of_equal_pictures(self._config, self._store, self._clock())

    def _answer_to(self, work: InWork) -> FieldMeasurement | None:
        """What the worker measured; None where it did not, which is then on record."""
        capture = work.capture
        try:
            return work.future.result()
        except LeftOutError as problem:
            self._leave_out(capture, problem.what)
            return None
        except CaptureError as problem:
            self._not_measured(capture, problem)
            return None
        except (BrokenExecutor, CancelledError):
            self._worker_died(work)
            return None
        except ModelRefusedError as problem:
            # No fault of the capture: it waits until the model is put right.
            self._wait(capture, CaptureError(str(problem), reason="model-refused", transient=True))
            return None
        except Exception as problem:
            # A fault of ours stops no other capture, is not a number, and is not the capture's:
            # it waits, until a newer version perhaps can read it.
            log.exception("capture=%s: unexpected error", shown_name(capture.path))
            self._wait(
                capture,
                CaptureError(
                    f"{shown_name(capture.path)}: unexpected error in colonywatch: {problem!r}; "
                    "see the log",
                    reason="internal-error",
                    transient=True,
                ),
            )
            return None

    def _place(self, work: InWork) -> ScanPlace:
        return ScanPlace(
            named=work.named.identity(work.capture.source),
            key=work.named.scan,
            gap_s=self._config.settings_of(work.capture.source).scan_gap_s,
            ahead_s=60 * self._config.decisions.clock.ahead_min,
            root=next(
                (root for root in self._roots if work.capture.path.is_relative_to(root)), None
            ),
        )

    def _compared(self, measured: FieldMeasurement, source: str) -> FieldMeasurement:
        """With the doubts that a capture raises that is unlike its source's earlier ones."""
        if source == UNLISTED:
            return measured  # folders of anything, from anywhere
        earlier = self._looks.get(source)
        if earlier is None:
            found = self._store.captures.last_looks(source, limit=KEPT)
            earlier = self._looks[source] = deque((ImageStats(*one) for one in found), maxlen=KEPT)
        look = ImageStats(measured.shape, measured.quality)
        doubts = unlike(look, earlier)
        earlier.append(look)
        return replace(measured, doubts=(*measured.doubts, *doubts)) if doubts else measured

    def _worker_died(self, work: InWork) -> None:
        capture, now = work.capture, self._clock()
        if not self._worker.died_with(work.future, capture.sha256 or ""):
            again = self._store.captures.record_waiting(
                capture.id,
                self._owner,
                "worker-died",
                f"{shown_name(capture.path)}: the segmentation process ended before its turn came",
                now,
            )
            log.warning(
                "capture=%s: worker died before its turn; next_try=%s",
                shown_name(capture.path),
                again,
            )
            return
        quarantined = self._store.captures.record_crash(
            capture.id, self._owner, now, limit=CRASHES_ALLOWED
        )
        log.error(
            "worker died with capture=%s; %s",
            shown_name(capture.path),
            "set aside as unreadable" if quarantined else "tried once more",
        )

    def _not_measured(self, capture: Capture, problem: CaptureError) -> None:
        if problem.reason in ("changed", "missing"):
            self._look_again(capture, problem)
        elif problem.transient or self._intake.is_young(
            capture.path, capture.source, capture.first_seen_at
        ):
            self._wait(capture, problem)
        else:
            self._set_aside(capture, problem)

    def _look_again(self, capture: Capture, problem: CaptureError | None = None) -> None:
        """The file at the capture's path has to be hashed (again): take it in anew."""
        seen = self._intake.look(capture.path, capture.source)
        if seen is None and self._was_nothing(capture):
            log.info("capture=%s: disappeared while empty; forgotten", shown_name(capture.path))
            self._store.captures.forget(capture.id, self._owner)
            self.forgotten.append(capture.path)
            return
        if seen is None:
            gone = problem or CaptureError(
                f"{shown_name(capture.path)}: is no longer there",
                reason="missing",
                transient=True,
            )
            self._wait(capture, gone)
            return
        self._store.captures.look_again(capture.id, self._owner, seen, self._clock())

    def _was_nothing(self, capture: Capture) -> bool:
        """An empty file that is gone. With its folder gone too, its source may come back."""
        return capture.sha256 is None and capture.reason == "empty" and capture.path.parent.is_dir()

    def _wait(self, capture: Capture, problem: CaptureError) -> None:
        again = self._store.captures.record_waiting(
            capture.id, self._owner, problem.reason, str(problem), self._clock()
        )
        log.warning(
            "capture=%s waiting reason=%s next_try=%s: %s",
            shown_name(capture.path),
            problem.reason,
            again and again.isoformat(timespec="seconds"),
            problem,
        )

    def _set_aside(self, capture: Capture, problem: CaptureError) -> None:
        self._store.captures.record_unreadable(
            capture.id, self._owner, problem.reason, str(problem), self._clock()
        )
        log.warning(
            "capture=%s unreadable reason=%s: %s", shown_name(capture.path), problem.reason, problem
        )

    def _leave_out(self, capture: Capture, why: str) -> None:
        """It was taken in, and another picture of its field is looked at: it is no capture."""
        gone = self._store.captures.leave_out(capture.id, self._owner, why, self._clock())
        for path in gone:
            self.left_out_late.append((path, capture.source, why))
        log.info("capture=%s left out: %s", shown_name(capture.path), shown_name(why))
