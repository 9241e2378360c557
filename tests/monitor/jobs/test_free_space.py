from __future__ import annotations

import logging

from monitor.config import Config, RecordConfig
from monitor.jobs.free_space import FREED, GIB, RoomGuard


def guard(folder, rooms, *, limit=1.0, database=None):
    config = Config(record=RecordConfig(folder=folder, stop_below_gib=limit))
    return RoomGuard(config, database, room=rooms.get)


def test_work_stops_before_the_disk_is_full_and_goes_on_once_there_is_room(tmp_path, caplog):
    rooms = {tmp_path: 2 * GIB}
    room = guard(tmp_path, rooms)
    assert room.has_room() and not room.why
    rooms[tmp_path] = GIB - 1
    with caplog.at_level(logging.WARNING):
        assert not room.has_room() and not room.has_room()
        assert "record.keep" in room.why and str(tmp_path) in room.why
        # Not at the first byte that is free again: that would go back and forth.
        rooms[tmp_path] = GIB + 1
        assert not room.has_room()
        rooms[tmp_path] = int(FREED * GIB)
        assert room.has_room() and not room.why
    assert len(caplog.records) == 2, "it is said once that work stops, and once that it goes on"


def test_the_databases_disk_counts_too(tmp_path):
    rooms = {tmp_path / "pictures": 9 * GIB, tmp_path / "fast": 0}
    room = guard(tmp_path / "pictures", rooms, database=tmp_path / "fast" / "record.sqlite")
    assert not room.has_room() and "fast" in room.why


def test_without_a_limit_or_an_answer_work_goes_on(tmp_path):
    assert guard(tmp_path, {tmp_path: 0}, limit=None).has_room()
    assert guard(tmp_path, {}).has_room()
