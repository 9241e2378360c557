"""What becomes of captures that were not measured: they wait, are looked at again, or set aside."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from monitor.capture.names.patterns import shown_name
from monitor.culture import Capture
from monitor.errors import CaptureError, LeftOutError, ModelRefusedError
from monitor.host.clock import Clock
from monitor.jobs.take_in import Intake
from monitor.record.store import Store

log = logging.getLogger(__name__)

CRASHES_ALLOWED = 2


class Unmeasured:
    """owner : the name under which captures are claimed

    forgotten, left_out_late : as of `Pipeline`
    """

    def __init__(self, store: Store, intake: Intake, clock: Clock, *, owner: str) -> None:
        self._store = store
        self._intake = intake
        self._clock = clock
        self._owner = owner
        self.forgotten: deque[Path] = deque(maxlen=10_000)
        self.left_out_late: deque[tuple[Path, str, str]] = deque()

    def not_named(self, capture: Capture, problem: CaptureError) -> None:
        """What its name says could not be told when its turn came."""
        if problem.transient:
            self._wait(capture, problem)
        else:
            self._set_aside(capture, problem)

    def refused(self, capture: Capture, problem: Exception) -> None:
        """The worker answered with this in place of a measurement."""
        if isinstance(problem, LeftOutError):
            self.leave_out(capture, problem.what)
        elif isinstance(problem, CaptureError):
            self._not_measured(capture, problem)
        elif isinstance(problem, ModelRefusedError):
            # No fault of the capture: it waits until the model is put right.
            self._wait(capture, CaptureError(str(problem), reason="model-refused", transient=True))
        else:
            # A fault of ours stops no other capture, is not a number, and is not the capture's:
            # it waits, until a newer version perhaps can read it.
            log.error("capture=%s: unexpected error", shown_name(capture.path), exc_info=problem)
            self._wait(
                capture,
                CaptureError(
                    f"{shown_name(capture.path)}: unexpected error in colonywatch: {problem!r}; "
                    "see the log",
                    reason="internal-error",
                    transient=True,
                ),
            )

    def worker_died(self, capture: Capture, *, in_hand: bool) -> None:
        """in_hand : it was the one that the worker was at"""
        now = self._clock()
        if not in_hand:
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
            self.look_again(capture, problem)
        elif problem.transient or self._intake.is_young(
            capture.path, capture.source, capture.first_seen_at
        ):
            self._wait(capture, problem)
        else:
            self._set_aside(capture, problem)

    def look_again(self, capture: Capture, problem: CaptureError | None = None) -> None:
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

    def leave_out(self, capture: Capture, why: str) -> None:
        """It was taken in, and another picture of its field is looked at: it is no capture."""
        gone = self._store.captures.leave_out(capture.id, self._owner, why, self._clock())
        for path in gone:
            self.left_out_late.append((path, capture.source, why))
        log.info("capture=%s left out: %s", shown_name(capture.path), shown_name(why))
