"""An old record, filled as its version filled it, is brought to the present form."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from monitor.culture import CaptureState
from monitor.errors import RecordError
from monitor.record.captures import TakenIn
from monitor.record.database import MIGRATIONS, Database
from monitor.record.migrations import smaller_rows
from monitor.record.store import Store
from tests.monitor.facts import sha256_of

AT = datetime(2026, 11, 3, 9, 30, 0, 123456, tzinfo=UTC)
SCANS = 25
PI = 3.141592653589793


@pytest.fixture
def old_file(tmp_path):
    """Two dishes, 25 scans each; a copy, a half file and an unreadable capture beside them."""
    path = tmp_path / "old.sqlite"
    script = Config()
    script.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        script.attributes["connection"] = connection
        command.upgrade(script, "0007")
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        _fill(connection)
    return path


def _put(connection, table, **values):
    names = ", ".join(f'"{name}"' for name in values)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})",
        tuple(values.values()),
    )


def _text(moment):
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _detail(number):
    colonies = [
        {"label": n, "area_px": 900 * n + number, "differentiated_px": n, "centroid": [PI * n, 1.5],
         "bounds": [n, 2, n + 30, 40]}
        for n in range(1, 5)
    ]  # fmt: skip
    return {
        "shape": [25, 40], "colonies": colonies, "regions": [], "acquired_at_from": "name",
        "pixel_size_from": "name", "assumed_pixel_size_um": None, "quality": {"sharpness": PI},
        "doubts": [], "took_s": 1.25, "aims": [], "aiming": None,
    }  # fmt: skip


def _fill(connection):
    connection.execute("PRAGMA foreign_keys=ON")
    for dish in (1, 2):
        _put(connection, "dish", id=dish, name=f"d{dish}", label=f"d{dish}", source="s",
             status="unknown", created_at=_text(AT))  # fmt: skip
    for number in range(1, 2 * SCANS + 1):
        dish = 1 + number % 2
        at = _text(AT + timedelta(hours=number))
        path = f"/in/d{dish}/{number}.tif"
        _put(connection, "scan", id=number, dish_id=dish, key=f"k{number}", first_at=at,
             last_at=at, last_taken_at=at, dirty=0)  # fmt: skip
        _put(connection, "capture", id=number, sha256=sha256_of(path), path=path, source="s",
             state="recorded", attempts=1, crashes=0, first_seen_at=at, finished_at=at,
             named_dish=f"d{dish}", field="1", acquired_at=at, fingerprint=sha256_of(str(number)),
             scan_id=number)  # fmt: skip
        _put(connection, "file", path=path, size=10, mtime_ns=2**60, capture_id=number)
        _put(connection, "measurement", id=number, capture_id=number, model_name="m",
             model_sha256="a" * 64, settings_sha256="5" * 64, background_px=600,
             undifferentiated_px=300, differentiated_px=100, pixel_size_um=2.0, uncertainty=PI / 9,
             overlay=f"overlays/{number}.jpg", label_map=f"labels/{number}.png",
             detail=json.dumps(_detail(number)), created_at=at)  # fmt: skip
        _put(connection, "reading", id=number, dish_id=dish, scan_id=number, version=1, at=at,
             captures=1, differentiated_fraction=0.25 + number / PI / 1000, confluence=0.4,
             uncertainty=PI / 9, model_sha256="a" * 64, settings_sha256="5" * 64, colonies=4,
             doubts='["out of focus"]', created_at=at, colony_um2=PI)  # fmt: skip
        connection.execute("UPDATE scan SET reading_id = id WHERE id = ?", (number,))
        _put(connection, "reading_measurement", reading_id=number, measurement_id=number)
        colonies = {
            "frames": ["stage"],
            "colonies": [[1, 1234.0, 0.25, 10.5, 20.1, 0, 1, 0, []],
                         [7, 900.0, 0.0, 1.0, 2.0, 0, 0, 1, [3, 4]]],
            "gone": [2],
        }  # fmt: skip
        packed = zlib.compress(json.dumps(colonies).encode(), 9)
        _put(connection, "reading_colonies", reading_id=number, packed=packed, maps=b"map")
    _put(connection, "alert", dish_id=1, kind="raised", status="differentiating", at=_text(AT),
         created_at=_text(AT), reading_id=5)  # fmt: skip
    _put(connection, "file", path="/copies/1.tif", size=10, mtime_ns=5, capture_id=1)
    _put(connection, "capture", id=900, path="/in/half.tif", source="s", state="waiting",
         attempts=1, crashes=0, first_seen_at=_text(AT), next_try_at=_text(AT))  # fmt: skip
    _put(connection, "file", path="/in/half.tif", size=3, mtime_ns=5, capture_id=900)
    _put(connection, "capture", id=901, path="/in/bad-\\xff.tif", source="s", state="unreadable",
         sha256="b" * 64, reason="blurred", attempts=1, crashes=0, named_dish="d1",
         first_seen_at=_text(AT))  # fmt: skip


def _check(store):
    one = store.dishes.history("d2")
    assert [reading.id for reading in one] == list(range(1, 2 * SCANS, 2))
    assert [reading.at for reading in one] == [AT + timedelta(hours=n) for n in range(1, 50, 2)]
    assert one[3].differentiated_fraction == 0.25 + 7 / PI / 1000
    assert (one[3].model_sha256, one[3].settings_sha256) == ("a" * 64, "5" * 64)
    assert (one[3].doubts, one[3].colony_um2) == (("out of focus",), PI)
    (field,) = store.dishes.scan_fields(7)
    measured = field.measurement
    assert field.capture_sha256 == sha256_of("/in/d2/7.tif")
    assert (measured.overlay, measured.label_map) == ("overlays/7.jpg", "labels/7.png")
    assert measured.colonies[2].centroid == (PI * 3, 1.5)
    assert measured.colonies[2].bounds == (3, 2, 33, 40)
    assert measured.quality == {"sharpness": PI}
    assert measured.uncertainty == PI / 9
    points = [point.colony for point in store.colonies.series("d1")]
    assert len(points) == SCANS
    assert (points[0].number, points[0].area, points[0].centre) == (1, 1234.0, (10.5, 20.1))
    assert store.captures.counts() == {"recorded": 50, "unreadable": 1, "waiting": 1}
    assert [alert.reading_id for alert in store.dishes.alerts()] == [5]
    assert store.database.is_sound()
    with closing(sqlite3.connect(store.database.url.database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT DISTINCT maps FROM reading_colonies").fetchall() == [
            (b"map",)
        ]


def test_every_number_of_an_old_record_is_kept(old_file):
    with Store(f"sqlite:///{old_file}") as store:
        _check(store)


def test_work_goes_on_where_the_old_version_left_it(old_file, store):
    """Known files stay known, copies are copies, and a half file becomes whole."""
    from tests.monitor.facts import seen

    with Store(f"sqlite:///{old_file}") as opened:
        same = seen("/in/d2/1.tif", sha256=sha256_of("/in/d2/1.tif"))
        assert opened.captures.take_in(same, AT)[0] is TakenIn.KNOWN
        outcome, capture = opened.captures.take_in(seen("/in/half.tif", "whole"), AT)
        assert (outcome, capture.id, capture.state) == (TakenIn.NEW, 900, CaptureState.WAITING)
        with opened.database.reading() as session:
            copies = session.connection().exec_driver_sql(
                "SELECT folder.path, file.name FROM file JOIN folder ON folder.id = folder_id "
                "WHERE is_copy"
            )
            assert copies.all() == [("/copies", "1.tif")]


@pytest.mark.parametrize("portions", [0, 1, 4, 40, 200])
def test_a_program_that_is_ended_in_the_middle_goes_on_from_there(old_file, portions):
    database = f"sqlite:///{old_file}"
    engine = create_engine(database)
    with engine.begin() as connection:
        smaller_rows.begin(connection)
        everything = smaller_rows.left(connection)
    for _ in range(portions):
        with engine.begin() as connection:
            smaller_rows.begin(connection)
            smaller_rows.copy_some(connection, portion=3)
    with engine.begin() as connection:
        smaller_rows.begin(connection)
        left = smaller_rows.left(connection)
    engine.dispose()
    assert everything - left >= 3 * min(portions, 100)
    with Store(database) as store:
        _check(store)


def test_a_running_program_of_the_old_version_is_not_overtaken(old_file):
    """What it goes on to write into tables that are copied already would be lost."""
    with closing(sqlite3.connect(old_file)) as connection, connection:
        _put(connection, "process", owner="me", kind="daemon", host="scope", pid=17,
             started_at=_text(AT), beat_at=_text(datetime.now(UTC)), detail="{}")  # fmt: skip
    with pytest.raises(RecordError, match=r"a daemon of that version is at work .*pid 17 on scope"):
        Database(f"sqlite:///{old_file}")
    with closing(sqlite3.connect(old_file)) as connection, connection:
        connection.execute("UPDATE process SET beat_at = ?", (_text(AT),))
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0007",)
    with Store(f"sqlite:///{old_file}") as store:
        _check(store)


def test_a_record_that_does_not_hold_together_is_left_as_it_is(old_file):
    with closing(sqlite3.connect(old_file)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM scan WHERE id = 9")
    with pytest.raises(RecordError, match=r"FOREIGN KEY|points at a row"):
        Database(f"sqlite:///{old_file}")
    with closing(sqlite3.connect(old_file)) as connection, connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0007",)
        assert connection.execute("SELECT count(*) FROM reading").fetchone() == (50,)
