"""How many captures the worker gets in hand, and which answers are written together."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.commands.one_pass import IN_WORK, InHand
from monitor.culture import AtScale, ScaleEvidence
from monitor.jobs.measure import InWork
from monitor.pipeline import TOGETHER


def work(answer: Any = None, at_scale: AtScale | None = None) -> InWork:
    """A capture with the worker's answer: a measurement, of which only the scale matters here."""
    future: Future[Any] = Future()
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(SimpleNamespace(at_scale=at_scale))
    return InWork(None, None, future)  # type: ignore[arg-type]


def test_a_fast_worker_gets_more_in_hand_and_its_answers_come_together() -> None:
    in_hand = InHand()
    assert in_hand.room == IN_WORK
    given = [work() for _ in range(IN_WORK)]
    in_hand.add(given)
    assert in_hand.next_done() == given
    assert in_hand.room == 2 * TOGETHER
    given = [work() for _ in range(in_hand.room)]
    in_hand.add(given)
    assert in_hand.next_done() + in_hand.next_done() == given
    assert in_hand.next_done() == []


def test_what_is_not_done_is_not_waited_for() -> None:
    in_hand = InHand()
    done, pending = work(), InWork(None, None, Future())  # type: ignore[arg-type]
    in_hand.add([done, pending])
    assert in_hand.next_done() == [done]
    pending.future.set_result(SimpleNamespace(at_scale=None))  # type: ignore[arg-type]
    assert in_hand.next_done() == [pending]


@pytest.mark.parametrize("is_asked", [True, False])
def test_images_that_are_asked_for_their_scale_go_one_by_one(is_asked: bool) -> None:
    """Each may move it for the next one, which would have to be measured again."""
    evidence = ScaleEvidence((0.5,) * 12, 900.0, None) if is_asked else None
    in_hand = InHand()
    in_hand.add([work(at_scale=AtScale("", evidence))])
    in_hand.next_done()
    assert (in_hand.room == IN_WORK) is is_asked


def test_a_capture_that_was_refused_is_an_answer() -> None:
    in_hand = InHand()
    refused = work(ValueError("no image"))
    in_hand.add([refused])
    assert in_hand.next_done() == [refused]
