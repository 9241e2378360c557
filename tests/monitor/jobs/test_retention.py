from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.config import Config, KeepConfig, RecordConfig
from monitor.jobs.retention import pictures_in, thin_pictures

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def written(path: Path, days: float, content: bytes = b"picture") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    at = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (at, at))
    return path


def test_old_pictures_go_and_nothing_else_does(tmp_path):
    config = Config(record=RecordConfig(folder=tmp_path, keep=KeepConfig(overlays_days=30)))
    old = written(tmp_path / "overlays/dish-1/20260101T000000Z.jpg", 90)
    stays = [
        written(tmp_path / "overlays/dish-1/20261129T000000Z.jpg", 1),
        written(tmp_path / "labels/dish-1/20260101T000000Z.png", 90),
        written(tmp_path / "colonywatch.sqlite", 900),
        written(tmp_path / "backups/colonywatch-20260101T000000Z.sqlite", 90),
        written(tmp_path / "removal/dish-1_20261103-00000001.csv", 90),
    ]
    elsewhere = written(tmp_path.parent / f"{tmp_path.name}-elsewhere.jpg", 90)
    (tmp_path / "overlays/dish-1/link.jpg").symlink_to(elsewhere)
    assert thin_pictures(config, NOW) == (1, len(b"picture"))
    assert not old.exists() and elsewhere.exists()
    assert all(path.exists() for path in stays)
    assert thin_pictures(config, NOW) == (0, 0)


def test_what_a_killed_program_left_behind_goes_after_a_day(tmp_path):
    left = written(tmp_path / "labels/dish-1/.20260101.abc.tmp", 2)
    in_the_making = written(tmp_path / "labels/dish-1/.20261130.abc.tmp", 0)
    assert list(pictures_in(tmp_path)) == []
    thin_pictures(Config(record=RecordConfig(folder=tmp_path)), NOW)
    assert not left.exists() and in_the_making.exists()


def test_a_record_without_pictures_has_nothing_to_remove(tmp_path):
    assert thin_pictures(Config(record=RecordConfig(folder=tmp_path / "none")), NOW) == (0, 0)
