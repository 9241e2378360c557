"""Backups of every kind, and the record that comes back from each."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from monitor.config import load_config
from monitor.host.clock import utc_now
from monitor.jobs.backups import backup_name, backups_in
from monitor.outlets.answer_links import AnswerLinks
from monitor.outlets.dashboard.app import build_app
from monitor.record.store import Store
from tests.monitor.commands.calls import BAD_CONFIG, DONE, FAILED, call


def pictures_of(state: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(state)): path.read_bytes()
        for kind in ("overlays", "labels")
        for path in sorted((state / kind).rglob("*"))
        if path.is_file()
    }


def without_pictures(state: Path) -> None:
    for kind in ("overlays", "labels"):
        shutil.rmtree(state / kind)


def readings(state: Path) -> object:
    return call("history", "dish-07", "--json", "--state", state).document


def test_a_backup_without_a_name_goes_where_backups_go_and_is_nobody_elses(state):
    answer = call("backup", "--json", "--state", state)
    assert answer.code == DONE, answer.err
    (file,) = backups_in(state / "backups").values()
    assert answer.document == {"backup": str(file), "pictures_copied": None, "removed": []}
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [path.name for path in (state / "backups").iterdir()] == [file.name]


def test_rotation_keeps_what_is_configured_and_touches_no_other_file(state, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    now = utc_now()
    for days in range(1, 60):
        (folder / backup_name(now - timedelta(days=days))).write_bytes(b"old")
    others = ["before-upgrade-20200101T000000.000Z.sqlite", "notes.txt", "colonywatch-mine.sqlite"]
    for name in others:
        (folder / name).write_text(name)
    answer = call("backup", folder, "--rotate", "--json", "--state", state)
    assert answer.code == DONE, answer.err
    left = backups_in(folder)
    assert len(left) + len(answer.document["removed"]) == 60
    assert 7 + 3 <= len(left) <= 7 + 5 + 3 and next(iter(left.values())).stat().st_size > 1000
    assert {path.name for path in folder.iterdir()} >= set(others)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["{state}/colonywatch.sqlite"], "is the record itself"),
        (["{tmp}/copy.sqlite", "--rotate"], "--rotate needs a folder"),
        (["{tmp}/file/copy.sqlite"], "the backup failed"),
    ],
)
def test_what_cannot_be_written_is_said(state, tmp_path, words, said):
    (tmp_path / "file").touch()
    words = [word.format(state=state, tmp=tmp_path) for word in words]
    answer = call("backup", *words, "--state", state)
    assert answer.code == FAILED and said in answer.err, answer.err


def test_settings_that_keep_no_backup_are_refused(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("record: {backups: {daily: 0, weekly: 0, monthly: 0}}")
    answer = call("backup", "--config", config)
    assert answer.code == BAD_CONFIG and "record.backups: daily, weekly" in answer.err


def test_pictures_come_back_from_beside_the_backup(state, tmp_path):
    folder = tmp_path / "backups"
    before, series = pictures_of(state), readings(state)
    first = call("backup", folder, "--pictures", "--json", "--state", state)
    assert first.code == DONE, first.err
    assert folder.is_dir() and len(backups_in(folder)) == 1
    assert first.document["pictures_copied"] == len(before) > 2
    assert call("backup", folder, "--pictures", "--json", "--state", state).document[
        "pictures_copied"
    ] == 0, "what is there is not copied again"  # fmt: skip
    shutil.rmtree(state)
    answer = call("restore", folder, "--json", "--state", state)
    assert answer.code == DONE, answer.err
    assert answer.document["pictures_brought_back"] == len(before)
    assert answer.document["pictures_gone"] == 0
    assert pictures_of(state) == before and readings(state) == series


def test_without_pictures_they_are_made_anew_just_as_they_were(state, tmp_path, config, captures):
    before = pictures_of(state)
    copy = tmp_path / "copy.sqlite"
    assert call("backup", copy, "--no-pictures", "--state", state).code == DONE
    without_pictures(state)
    answer = call("restore", copy, "--json", "--state", state, "--config", config)
    assert answer.code == DONE, answer.err
    assert (answer.document["pictures_brought_back"], answer.document["pictures_gone"]) == (0, 4)
    assert "colonywatch pictures --make" in answer.err
    made = call("pictures", "--make", "--json", "--state", state, "--config", config)
    assert made.code == DONE, made.err
    assert made.document["made_again_of"] == 2 and made.document["not_made"] == {}
    assert pictures_of(state) == before
    assert call("pictures", "--json", "--state", state).document["overlays_gone"] == 0


def test_an_overlay_alone_is_drawn_again_without_the_network(state, config):
    overlays = list((state / "overlays").rglob("*.jpg"))
    for path in overlays:
        path.unlink()
    labels = {path: path.stat().st_mtime_ns for path in (state / "labels").rglob("*.png")}
    answer = call("pictures", "--make", "--state", state, "--config", config)
    assert answer.code == DONE and "made again: those of 2 captures" in answer.out, answer.err
    assert all(path.stat().st_size > 1000 for path in overlays)
    assert {path: path.stat().st_mtime_ns for path in labels} == labels


def got(app, path: str, query: str) -> tuple[int, bytes]:
    """(status, body) of a page, asked for without a server."""
    said = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        said.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asyncio.run(app(scope, receive, send))
    return said[0]["status"], b"".join(one.get("body", b"") for one in said[1:])


def test_a_page_that_shows_an_overlay_that_is_gone_draws_it_again_and_says_so(state, config):
    settings = load_config(config).with_state(state)
    (overlay, *others) = sorted((state / "overlays").rglob("*.jpg"))
    had = cv2.imread(str(overlay))
    for path in (overlay, *others):
        path.unlink()
    with Store(settings.record.database_url) as store:
        app = build_app(
            settings,
            store,
            AnswerLinks(settings.secret_file, good_for=timedelta(days=7)),
            clock=utc_now,
            draw_plan=lambda plan: b"",
        )
        reading = store.dishes.dishes()[0].last
        status, content = got(app, "/picture", f"reading={reading.id}&field=0&size=full")
    assert status == 200
    drawn = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[1] == had.shape[1]
    assert len(list((state / "overlays").rglob("*.jpg"))) == 1, "it is kept from now on"


def test_what_cannot_be_made_again_is_said(state, config, captures, tmp_path):
    """Of a capture that is gone nothing can be drawn; its reading stands."""
    series = readings(state)
    without_pictures(state)
    with sqlite3.connect(state / "colonywatch.sqlite") as record:
        record.execute("UPDATE folder SET path = ?", (str(tmp_path / "gone"),))
    answer = call("pictures", "--make", "--json", "--state", state, "--config", config)
    assert answer.code == FAILED
    assert answer.document["not_made"] == {"the capture itself is gone": 2}
    assert readings(state) == series


def test_a_folder_without_backups_is_nothing_to_restore(state, tmp_path):
    answer = call("restore", tmp_path, "--state", state)
    assert answer.code == FAILED and "colonywatch-TIME.sqlite" in answer.err
