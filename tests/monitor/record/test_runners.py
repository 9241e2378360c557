"""What did the network's arithmetic stands with each reading; another one is told of once."""

from __future__ import annotations

import logging

import pytest

from tests.monitor.facts import DISH, measure, measurement, place, read

ONE, OTHER = "torch 2.13.0 float32", "openvino 2026.4.1 int8"


def recorded(store, name: str, runner: str) -> None:
    scan = measure(store, f"/{name}", place(key=name, field="a"), measurement(runner=runner))
    read(store, scan)


def test_readings_of_two_machines_on_one_record_name_their_runners_and_it_is_told_once(
    store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="monitor.record.files")
    recorded(store, "1", ONE)
    assert caplog.messages == []
    for name, runner in (("2", OTHER), ("3", ONE), ("4", OTHER)):
        recorded(store, name, runner)
    (told,) = caplog.messages
    assert f"was run by {ONE} before and is by {OTHER} now" in told
    assert {one.runner for one in store.dishes.history(DISH)} == {ONE, OTHER}


def test_measurements_from_before_runners_had_names_are_no_other_runner(
    store, caplog: pytest.LogCaptureFixture
) -> None:
    recorded(store, "1", "")
    recorded(store, "2", ONE)
    assert caplog.messages == []
