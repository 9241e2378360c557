"""Overlays and label maps that the record points to and that are gone: counted and made again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from monitor.capture.names.patterns import shown_name
from monitor.config import Config, settings_sha256
from monitor.errors import CaptureError
from monitor.host.clock import Clock
from monitor.jobs.measure import Worker
from monitor.jobs.take_in import Intake
from monitor.outlets.overlays_again import draw_overlay_again
from monitor.record.picture_files import PicturedCapture
from monitor.record.store import Store
from monitor.segmentation.request import FieldRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Missing:
    """A capture of which some picture is gone."""

    of: PicturedCapture
    overlay: bool
    label_map: bool


def missing_pictures(store: Store, config: Config) -> Iterator[Missing]:
    """In the order in which captures came."""
    folder = config.record.folder
    for one in store.picture_files.all():
        overlay = one.overlay is not None and not (folder / one.overlay).is_file()
        labels = one.label_map is not None and not (folder / one.label_map).is_file()
        if overlay or labels:
            yield Missing(one, overlay, labels)


class MakeAgain:
    """model_sha256 : of the worker's model. Another one's label maps would not be what was read.

    worker : None = only what takes no network
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        *,
        worker: Worker | None = None,
        model_sha256: str = "",
    ) -> None:
        self._config = config
        self._store = store
        self._worker = worker
        self._model_sha256 = model_sha256
        self._intake = Intake(config, store, clock, patient=False)

    def make(self, missing: Missing) -> str | None:
        """Make what is gone of a capture. Returns why that cannot be; None where it is done."""
        one = missing.of
        if not one.path.exists():
            return "the capture itself is gone"
        if not missing.label_map:
            try:
                done = draw_overlay_again(self._config, one)
            except OSError as problem:
                return f"it cannot be written ({problem.strerror})"
            return None if done else "the capture was overwritten since it was measured"
        settings = self._config.settings_of(one.source)
        if self._worker is None:
            return "its label map is gone, too, and takes the network"
        if one.model_sha256 != self._model_sha256:
            return "it was read by another model: colonywatch reprocess measures it anew"
        if one.settings_sha256 != settings_sha256(self._config, settings):
            return "it was read under other settings: colonywatch reprocess measures it anew"
        return self._measure(one)

    def _measure(self, one: PicturedCapture) -> str | None:
        """The worker writes the files, under the names that they had; what it says is known."""
        assert self._worker is not None
        settings = self._config.settings_of(one.source)
        (capture,) = self._store.captures.find([one.capture_id])
        try:
            named = self._intake.chooser.choose(one.path, settings).named
            request = FieldRequest(
                path=one.path,
                sha256=one.sha256,
                named=named,
                settings=settings,
                settings_sha256=one.settings_sha256,
                state_folder=self._config.record.folder,
                removal=self._config.decisions.removal,
                scales=self._store.scales.in_use(capture, named.dish),
            )
            measured = self._worker.submit(request).result()
        except CaptureError as problem:
            return str(problem)
        if measured.label_map != one.label_map:
            # It says dish and time: this is another capture to us by now.
            return "its name or time is read differently by now: colonywatch reprocess"
        return None


def make_all(
    missing: Iterable[Missing], maker: MakeAgain, advance: Callable[[bool], None]
) -> dict[str, int]:
    """Returns how many could not be made, by why. advance : told of each whether it could."""
    why: dict[str, int] = {}
    for one in missing:
        problem = maker.make(one)
        if problem is not None:
            log.info("%s: %s", shown_name(one.of.path), problem)
            why[problem] = why.get(problem, 0) + 1
        advance(problem is None)
    return why
