"""Any order in which captures arrive ends as if each had come when it was taken."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from monitor.config import (
    CalibrationConfig,
    Config,
    DecisionsConfig,
    DifferentiationConfig,
    EmailConfig,
    OutletsConfig,
    RecordConfig,
    RemovalConfig,
    SourceConfig,
)
from monitor.culture import (
    Doubt,
    DoubtReason,
    FieldAreas,
    FieldMeasurement,
    PlanStatus,
    StagePosition,
)
from monitor.pipeline import Pipeline
from monitor.record.store import Store
from tests.monitor.facts import NOW, measurement, sha256_of
from tests.monitor.line import AIM, REGION, Clock, Line, StandInWorker

LIMITS = DifferentiationConfig(confluence_above=0.6, doubtful_for_h=6)
AT_ITS_WORD = RemovalConfig(earlier_scans=0)
STRANGE, WIDE = "strange", "wide"
DOUBTS = {
    STRANGE: Doubt((DoubtReason.UNFAMILIAR,), (0.0, 1.0)),
    WIDE: Doubt((), (0.02, 0.8), "ips 4x", calibrated=True),
}
FIRST = NOW - timedelta(hours=48)
# A case in a few numbers needs no shrinking, which takes minutes.
FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    # Each example takes records of its own from the one fixture.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)


@contextmanager
def new_line(database_url, now, limits=LIMITS):
    with tempfile.TemporaryDirectory() as folder:
        captures, state = Path(folder, "captures"), Path(folder, "state")
        captures.mkdir()
        state.mkdir()
        source = SourceConfig(
            name="incubator",
            path=captures,
            names="dish-time",
            calibration=CalibrationConfig(id="scope-1"),
        )
        config = Config(
            sources=(source,),
            record=RecordConfig(folder=state, database=database_url),
            decisions=DecisionsConfig(differentiation=limits, removal=AT_ITS_WORD),
            outlets=OutletsConfig(email=EmailConfig(gather_s=0)),
        )
        clock, worker = Clock(now), StandInWorker()
        with Store(config.record.database_url) as store:
            pipeline = Pipeline(config, store, worker, owner="me", clock=clock)
            yield Line(pipeline, worker, clock, captures, config, store)


def field(scan, number):
    """(name, what it shows) of one field of a scan: (hours since the first, share, its doubt)"""
    after_h, share, is_doubtful = scan
    at = FIRST + timedelta(hours=after_h, minutes=number)
    differentiated = round(20_000 * share)
    shown = measurement(
        shape=(200, 200),
        areas=FieldAreas(20_000, 20_000 - differentiated, differentiated),
        regions=(REGION,),
        aims=(AIM,),
        targeting=AT_ITS_WORD.targeting,
        acquired_at=at,
        stage=StagePosition(1000.0 + 500 * number, 2000.0),
        doubts=("out of focus",) if is_doubtful is True else (),
        doubt=DOUBTS.get(is_doubtful, Doubt()),
        label_map=None,
        overlay=None,
        fingerprint=sha256_of(f"{after_h}/{number}"),
    )
    return f"dish-07_{at:%Y%m%dT%H%M%SZ}_f{number}.tif", shown


def arrive(line, captures: list[tuple[str, FieldMeasurement]]):
    for name, shown in captures:
        line.worker.says[name] = shown
        line.take_in(line.drop(name))
    line.run()
    line.clock.passes(timedelta(minutes=1))
    line.pipeline.read_scans(line.pipeline.complete_scans())


def ends_as(line):
    """Readings, status, alerts and the live plan, without what only tells when they were made.

    Nobody makes a plan late that has expired by then.
    """
    readings = [
        replace(one, id=0, scan_id=0, version=0) for one in line.store.dishes.history("dish-07")
    ]
    (dish,) = line.store.overviews.dishes(limit=5, since=FIRST, points=99)
    course = sorted(
        (one.at, one.topic, one.kind, one.severity, one.fraction, one.status)
        for one in line.store.alerts.alerts()
        if one.role == "change"
    )
    still_open = sorted(
        (one.at, one.topic, one.kind, one.severity)
        for one in line.store.alerts.alerts(open_only=True)
        if one.role == "change"
    )
    plans = [
        (one.reading_id == line.store.dishes.history("dish-07")[-1].id, one.expires_at,
         one.targets, one.refused)
        for one in line.store.plans.all()
        if one.status is PlanStatus.DRAFT
        and one.expires_at > readings[-1].at + timedelta(minutes=10)
    ]  # fmt: skip
    return {
        "readings": readings,
        "status": (dish.status, dish.severity),
        "course": course,
        "open": still_open,
        "plans": plans,
    }


SHARES = st.sampled_from([0.0, 0.04, 0.07, 0.12, 0.16, 0.25, 0.34, 0.7])
SCANS = st.lists(
    st.tuples(
        st.integers(0, 16).map(lambda place: 3 * place),
        SHARES,
        st.sampled_from([False, False, False, True, STRANGE, WIDE]),
        st.sampled_from([1, 1, 2]),
    ),
    min_size=3,
    max_size=9,
    unique_by=lambda scan: scan[0],
)


@dataclass(frozen=True)
class Case:
    """scans : (hours since the first, share, its doubt, fields); order : of the fields by time

    cuts : where one portion ends and the next begins
    """

    scans: tuple[tuple[int, float, bool | str, int], ...]
    order: tuple[int, ...]
    cuts: tuple[int, ...]

    @property
    def in_time(self) -> list[tuple[str, FieldMeasurement]]:
        return [field(scan[:3], number) for scan in sorted(self.scans) for number in range(scan[3])]

    @property
    def portions(self) -> list[list[tuple[str, FieldMeasurement]]]:
        captures = [self.in_time[place] for place in self.order]
        ends = sorted({*self.cuts, len(captures)})
        return [captures[a:b] for a, b in pairwise([0, *ends])]


@st.composite
def cases(draw):
    scans = tuple(draw(SCANS))
    count = sum(scan[3] for scan in scans)
    order = draw(st.permutations(range(count)))
    cuts = draw(st.sets(st.integers(1, count - 1), max_size=5))
    return Case(scans, tuple(order), tuple(sorted(cuts)))


def newest_first(*shares):
    count = len(shares)
    scans = tuple((6 * place, share, False, 1) for place, share in enumerate(shares))
    return Case(scans, tuple(range(count))[::-1], tuple(range(1, count)))


FOUND_LATE = newest_first(0.4, 0.45, 0.5, 0.55, 0.6)
ASKED_LATE = Case(
    tuple((6 * n, 0.4, STRANGE if n in (2, 3, 4, 5) else False, 1) for n in range(9)),
    (8, 2, 3, 7, 6, 0, 1, 5, 4),
    tuple(range(1, 9)),
)


@given(case=cases())
@example(case=FOUND_LATE)
@example(case=ASKED_LATE)
@FEW
def test_any_order_of_arrival_ends_as_the_live_order_does(make_record, case):
    """Backlogs, newest first, a field hours late: what is on record at the end is the same."""
    with new_line(make_record(), FIRST) as live:
        for name, shown in case.in_time:
            live.clock.now = max(live.clock.now, shown.acquired_at + timedelta(seconds=10))
            arrive(live, [(name, shown)])
        expected = ends_as(live)
    last = case.in_time[-1][1].acquired_at
    with new_line(make_record(), last + timedelta(minutes=5)) as line:
        for portion in case.portions:
            arrive(line, portion)
        found = ends_as(line)
    for what in expected:
        assert found[what] == expected[what], what


def test_scans_that_arrive_newest_first_alert_once_they_are_in(make_record):
    with new_line(make_record(), NOW) as line:
        for portion in FOUND_LATE.portions:
            arrive(line, portion)
        raised = [one for one in line.store.alerts.alerts(open_only=True) if not one.held_back]
        assert {str(one.severity) for one in raised} == {"critical"}
        mails = [one for one in line.store.outbox.undelivered() if one.channel == "email"]
        assert mails


def test_an_alert_that_late_scans_show_to_be_unfounded_is_taken_back_and_said(make_record):
    """It stays on record; who was told of it is told that it had no ground."""
    with new_line(make_record(), NOW) as line:
        for after_h in (0, 12, 18):
            arrive(line, [field((after_h, 0.2, False), 0)])
        (raised,) = line.store.alerts.alerts(open_only=True)
        for after_h in (6, 15):
            arrive(line, [field((after_h, 0.01, False), 0)])
        assert line.store.alerts.alerts(open_only=True) == []
        cleared, replaced = line.store.alerts.alerts()
        assert (replaced.id, replaced.role, replaced.closed_at) == (
            raised.id,
            "replaced",
            line.clock.now,
        )
        assert (str(cleared.kind), cleared.role, cleared.held_back) == ("cleared", "again", None)
        assert "unfounded" in (cleared.text or "")
        mails = [one.subject_id for one in line.store.outbox.undelivered()]
        assert str(cleared.id) in mails


def test_an_all_clear_that_came_too_early_is_taken_back_and_said(make_record):
    with new_line(make_record(), NOW) as line:
        for after_h, share in ((0, 0.2), (3, 0.2), (6, 0.2), (12, 0.01), (18, 0.01), (24, 0.01)):
            arrive(line, [field((after_h, share, False), 0)])
        assert line.store.alerts.alerts(open_only=True) == []
        for after_h in (15, 21):
            arrive(line, [field((after_h, 0.2, False), 0)])
        (dish,) = line.store.dishes.dishes()
        assert str(dish.status) == "differentiating"
        still = line.store.alerts.alerts(open_only=True)
        assert {(str(one.kind), one.role) for one in still} == {
            ("raised", "change"),
            ("raised", "again"),
        }
        told = next(one for one in still if one.role == "again")
        assert "too early" in (told.text or "")


def test_what_late_scans_only_move_is_not_told_twice(make_record):
    with new_line(make_record(), NOW) as line:
        for after_h in (6, 12, 18):
            arrive(line, [field((after_h, 0.2, False), 0)])
        (before,) = line.store.alerts.alerts()
        arrive(line, [field((0, 0.2, False), 0)])
        (after,) = line.store.alerts.alerts()
        assert (after.id, before.at - after.at) == (before.id, timedelta(hours=6))
        mails = [one for one in line.store.outbox.undelivered() if one.channel == "email"]
        assert len(mails) == 1
