"""A dashboard over captures that lie on the disk: fields of two by two, scanned three times.

Field f3 did not come with the second scan, and f4 of it cannot be read. Between the first and the
last scan the dish was put back 40 um elsewhere.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import tifffile

from monitor.config import Config, parse_config
from monitor.culture import (
    DishStatus,
    Doubt,
    DoubtReason,
    FieldAreas,
    FieldIdentity,
    ScanDecision,
    StagePosition,
)
from monitor.jobs.plan_views import picture_of
from monitor.jobs.registered_views import shift_between
from monitor.outlets.answer_links import AnswerLinks
from monitor.outlets.dashboard.app import build_app
from monitor.outlets.dashboard.serving import listen, server_for
from monitor.record.scan_places import ScanPlace
from monitor.record.store import Store
from monitor.segmentation.label_maps import encode_label_map
from monitor.segmentation.overlay import encode_png
from monitor.segmentation.uncertainty_maps import probability_map_name, probability_planes
from tests.monitor.facts import DISH, NOW, hours, measurement, minutes, read, seen

SHAPE = (300, 400)
UM = 4.0
PLACES = {"f1": (0.0, 0.0), "f2": (1600.0, 0.0), "f3": (0.0, 1200.0), "f4": (1600.0, 1200.0)}
SHIFT_UM = 40.0


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def image(self) -> np.ndarray:
        found = cv2.imdecode(np.frombuffer(self.body, np.uint8), cv2.IMREAD_UNCHANGED)
        assert found is not None
        return found


@dataclass
class ViewedSite:
    """readings : of the three scans, by their order"""

    port: int
    store: Store
    config: Config
    readings: list[int]
    captures: Path

    def look(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()


def dish_at(x_um: float, y_um: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """(H, W) labels of a field whose centre stands there: colonies of the whole dish."""
    places = np.random.default_rng(1)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    y = (rows - (shape[0] - 1) / 2) * UM + y_um
    x = (columns - (shape[1] - 1) / 2) * UM + x_um
    labels = np.zeros(shape, np.uint8)
    for number in range(40):
        cx, cy, r = places.uniform(-800, 2400), places.uniform(-600, 1800), places.uniform(40, 130)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < r * r
        labels[inside] = 2 if number % 5 == 0 else 1
    return labels


def capture_of(labels: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 4, labels.shape)
    return np.clip(110 + 25 * labels + noise, 0, 255).astype(np.uint8)


def add_field(site_config: Config, store: Store, folder: Path, scan: int, name: str, **changes):
    """One capture with all that was made of it. Returns its scan."""
    at = NOW + hours(6 * scan)
    x, y = PLACES[name]
    shift = SHIFT_UM if scan == 2 else 0.0
    labels = dish_at(x - shift, y)
    path = folder / f"A1_s{scan}_{name}.tif"
    tifffile.imwrite(path, capture_of(labels, 10 * scan + int(name[1])))
    state = site_config.record.folder
    label_map = f"labels/{scan}_{name}.png"
    planes = np.stack([labels == one for one in range(3)]).astype(np.float32)[:, ::10, ::10]
    for file, content in (
        (label_map, encode_label_map(labels)),
        (probability_map_name(label_map), encode_png(probability_planes(0.9 * planes + 0.03))),
    ):
        (state / file).parent.mkdir(parents=True, exist_ok=True)
        (state / file).write_bytes(content)
    counts = np.bincount(labels.ravel(), minlength=3)
    measured = measurement(
        shape=SHAPE, areas=FieldAreas(*map(int, counts)), colonies=(), regions=(),
        acquired_at=at, pixel_size_um=UM, stage=StagePosition(x, y), overlay=None,
        label_map=label_map, **changes,
    )  # fmt: skip
    identity = FieldIdentity("incubator", DISH, f"s{scan}", name)
    file = seen(path, "", identity=identity, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    _, capture = store.captures.take_in(file, at)
    (claimed,) = store.captures.claim_due("me", at, limit=1, only=[capture.id])
    where = ScanPlace(identity, f"s{scan}", 900.0)
    return store.captures.record_measurement(claimed.id, "me", where, measured, at)


@contextmanager
def viewed_site(fresh_database: Path, folder: Path) -> Iterator[ViewedSite]:
    state, captures = folder / "state", folder / "captures"
    state.mkdir()
    captures.mkdir()
    shutil.copy(fresh_database, state / "colonywatch.sqlite")
    config = parse_config(
        f"record: {{folder: {state}}}\n"
        f"sources: [{{name: incubator, path: {captures}, calibration: {{id: c}},\n"
        "  names: '(?P<dish>A1)_(?P<scan>s[0-9])_(?P<field>f[0-9])'}]",
        where=folder / "config.yaml",
    )
    links = AnswerLinks(config.secret_file, good_for=timedelta(days=7))
    taken = listen(config.outlets.dashboard.model_copy(update={"port": 0}))
    with Store(config.record.database_url) as store, taken:
        readings = [_scan(config, store, captures, number) for number in range(3)]
        app = build_app(
            config, store, links, clock=lambda: NOW + hours(20),
            draw_plan=lambda plan: picture_of(plan, store, config),
            shift_between=lambda one, other, field: shift_between(
                one, other, field, store, config
            ),
        )  # fmt: skip
        server = server_for(app)
        thread = threading.Thread(target=server.run, args=([taken],))
        thread.start()
        try:
            yield ViewedSite(taken.getsockname()[1], store, config, readings, captures)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def _scan(config: Config, store: Store, captures: Path, number: int) -> int:
    names = ("f1", "f2") if number == 1 else tuple(PLACES)
    doubt = Doubt((DoubtReason.UNFAMILIAR,), (0.1, 0.4))
    scan_id = 0
    for name in names:
        changes = {"doubt": doubt} if (number, name) == (1, "f2") else {}
        scan_id = add_field(config, store, captures, number, name, **changes)
    at = NOW + hours(6 * number)
    if number == 1:
        _unreadable(store, captures, at)
    outcome = read(store, scan_id, ScanDecision(DishStatus.UNDIFFERENTIATED), at=at + minutes(5))
    assert outcome is not None
    return outcome.reading.id


def _unreadable(store: Store, captures: Path, at) -> None:
    path = captures / "A1_s1_f4.tif"
    path.write_bytes(b"II*\0 cut off")
    file = seen(path, "II*\0 cut off", dish=DISH, scan="s1", field="f4")
    _, capture = store.captures.take_in(file, at)
    (claimed,) = store.captures.claim_due("me", at, limit=1, only=[capture.id])
    store.captures.record_unreadable(claimed.id, "me", "truncated", "ends after 12 bytes", at)


def add_again(site: ViewedSite, scan: int, model_sha256: str, *, at) -> int:
    """All fields of a scan measured by another model. Returns the scan."""
    scan_id = 0
    for claimed in site.store.captures.claim_due("me", at, limit=50):
        name = claimed.field or ""
        if f"A1_s{scan}_" not in claimed.path.name:
            continue
        x, y = PLACES[name]
        measured = measurement(
            shape=SHAPE, colonies=(), regions=(), acquired_at=NOW + hours(6 * scan),
            pixel_size_um=UM, stage=StagePosition(x, y), overlay=None,
            label_map=f"labels/{scan}_{name}.png", model_sha256=model_sha256,
        )  # fmt: skip
        identity = FieldIdentity("incubator", DISH, f"s{scan}", name)
        where = ScanPlace(identity, f"s{scan}", 900.0)
        scan_id = site.store.captures.record_measurement(claimed.id, "me", where, measured, at)
    return scan_id
