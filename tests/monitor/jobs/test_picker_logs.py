"""What a picker writes about its work -> what is on record of its plans."""

from dataclasses import replace

import pytest

from monitor.config import Config, PickLogsConfig
from monitor.culture import PickOutcome, PlanStatus
from monitor.daemon import PICK_LOGS_S, Daemon
from monitor.errors import RecordError
from monitor.jobs.picker_logs import LARGEST_BYTES, PickLogFolder
from monitor.record.pick_logs import PickLogState
from tests.monitor.commands.calls import call
from tests.monitor.facts import HIT, NOW, TARGET, minutes
from tests.monitor.record.test_plans import events, out, with_plan

PICKED, PARTLY, FAILED = PickOutcome.PICKED, PickOutcome.PARTLY_PICKED, PickOutcome.FAILED
TWO_HITS = (replace(HIT, order=2), replace(HIT, order=3))
TARGETS = (
    TARGET,
    replace(TARGET, region_id="r2", hits=TWO_HITS),
    replace(TARGET, region_id="r3", hits=(replace(HIT, order=4),)),
)
ONE, _, _ = (target.region_id for target in TARGETS)
TOLD = NOW + minutes(30)
HEAD = "plan,target,outcome,hit,time\n"


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "picker-says"
    path.mkdir()
    return path


@pytest.fixture
def plan(store):
    return out(store, targets=TARGETS)


class Looks:
    """A folder that is looked at until all that lies there has settled."""

    def __init__(self, folder, store, settle_s=5.0):
        self.reader = PickLogFolder(PickLogsConfig(folder=folder, settle_s=settle_s), store)
        self.at_s = 0.0

    def once(self, after_s=5.0):
        self.at_s += after_s
        self.reader.look(lambda: TOLD, self.at_s)

    def until_settled(self):
        self.once()
        self.once()


@pytest.fixture
def looks(folder, store):
    return Looks(folder, store)


def outcomes(store, plan_id="p1"):
    return {fate.region_id: fate.outcome for fate in store.plans.plan(plan_id).fates}


def logs(store):
    return [(one.state, one.reason) for one in store.pick_logs.latest()]


def test_a_log_says_what_became_of_each_region(folder, store, plan, looks):
    """By id or number; a region is picked when all of its hits are."""
    said = f"p1,{ONE},picked,,2026-11-03T09:40:00Z\np1,r2,picked,1,2026-11-03T10:41:00+01:00\n"
    (folder / "run.csv").write_text(HEAD + said + "p1,3,failed,,2026-11-03T09:42:00Z\n")
    looks.until_settled()
    assert outcomes(store) == {ONE: PICKED, "r2": PARTLY, "r3": FAILED}
    assert {one.region_id: one.hits for one in store.plans.plan(plan).fates}["r2"] == (1,)
    found = store.plans.plan(plan)
    assert found.status is PlanStatus.PICKED
    assert found.picked_at == NOW + minutes(12)
    assert logs(store) == [(PickLogState.READ, None)]
    assert ("picker", "plan exported -> picked") in events(store)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfPlan;Target;Outcome\r\np1;1;Picked\r\n",
        b'outcome,operator,target,plan\npicked,"Ada, B.",1,p1\n\n',
        b"plan,target,outcome\np1,1,picked\np1,1,picked\n",
    ],
    ids=["mark, semicolons, Windows", "other order, further columns", "a line twice"],
)
def test_every_way_to_write_a_table_is_read(folder, store, plan, looks, content):
    (folder / "RUN.CSV").write_bytes(content)
    looks.until_settled()
    assert outcomes(store) == {ONE: PICKED}


REFUSED = {
    "unknown plan": (b"plan,target,outcome\nnone,1,picked\n", "unknown-plan"),
    "unknown target": (b"plan,target,outcome\np1,1,picked\np1,9,picked\n", "unknown-target"),
    "unknown hit": (HEAD.encode() + b"p1,2,picked,3,\n", "unknown-target"),
    "contradiction": (b"plan,target,outcome\np1,1,picked\np1,1,failed\n", "contradictory"),
    "half a file": (b"plan,target,outcome\np1,1,picked\np1,2,pick", "half-written"),
    "no last line end": (b"plan,target,outcome\np1,1,picked", "half-written"),
    "half a line": (b"plan,target,outcome\np1,1,picked\np1,2\n", "cells"),
    "open quote": (b'plan,target,outcome\np1,1,picked\n"p1,2,picked\n', "not-csv"),
    "UTF-16": ("plan,target,outcome\np1,1,picked\n".encode("utf-16"), "encoding"),
    "UTF-16 without mark": ("plan,target,outcome\np1,1,picked\n".encode("utf-16-le"), "encoding"),
    "Latin-1": ("plan,target,outcome,note\np1,1,picked,für\n".encode("latin-1"), "encoding"),
    "other outcome": (b"plan,target,outcome\np1,1,maybe\n", "outcome"),
    "no region": (b"plan,target,outcome\np1,,picked\n", "cells"),
    "hit zero": (HEAD.encode() + b"p1,1,picked,0,\n", "hit"),
    "time without zone": (HEAD.encode() + b"p1,1,picked,,2026-11-03T09:40\n", "time"),
    "time at the end of the calendar": (
        HEAD.encode() + b"p1,1,picked,,0001-01-01T00:00:00+23:00\n",
        "time",
    ),
    "before it was handed out": (HEAD.encode() + b"p1,1,picked,,2026-11-02T09:40:00Z\n", "time"),
    "no such columns": (b"id,well,result\np1,1,picked\n", "columns"),
    "column twice": (b"plan,plan,target,outcome\np1,p1,1,picked\n", "columns"),
    "empty": (b"", "empty"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_on_record_with_its_reason(
    folder, store, plan, looks, content, reason
):
    """Nothing of it reaches the plan, and the file stays as it is."""
    path = folder / "run.csv"
    path.write_bytes(content)
    looks.until_settled()
    assert logs(store) == [(PickLogState.REFUSED, reason)]
    assert outcomes(store) == {}
    assert store.plans.plan(plan).status is PlanStatus.EXPORTED
    assert path.read_bytes() == content


def test_a_plan_that_nobody_was_given_cannot_have_been_picked(folder, store, looks):
    with_plan(store)
    (folder / "run.csv").write_text("plan,target,outcome\np1,1,picked\n")
    looks.until_settled()
    assert logs(store) == [(PickLogState.REFUSED, "not-handed-out")]


def test_of_several_plans_what_can_be_used_is(folder, store, plan, looks):
    """One plan that is not known here takes nothing from what is said of another."""
    (folder / "run.csv").write_text("plan,target,outcome\nelsewhere,1,picked\np1,1,picked\n")
    looks.until_settled()
    (found,) = store.pick_logs.latest()
    assert (found.state, found.reason) == (PickLogState.PARTLY_READ, "unknown-plan")
    assert found.plans == ("p1",)
    assert outcomes(store) == {ONE: PICKED}


def test_of_a_region_whose_other_hits_are_not_told_failure_is_not_said(folder, store, plan, looks):
    """The rest may still be picked; and a plan of which all failed would end."""
    (folder / "run.csv").write_text(HEAD + "p1,2,failed,1,\n")
    looks.until_settled()
    assert logs(store) == [(PickLogState.PARTLY_READ, "hits-missing")]
    assert outcomes(store) == {}


def test_a_log_that_grows_adds_to_what_is_known(folder, store, plan, looks):
    """Half a line in between is waited for, and is no longer complained of when it is whole."""
    path = folder / "run.csv"
    path.write_text("plan,target,outcome\np1,1,picked\n")
    looks.until_settled()
    path.write_text("plan,target,outcome\np1,1,picked\np1,2,pic")
    looks.until_settled()
    assert outcomes(store) == {ONE: PICKED}
    assert logs(store) == [(PickLogState.REFUSED, "half-written")]
    path.write_text("plan,target,outcome\np1,1,picked\np1,2,picked\n")
    looks.until_settled()
    assert outcomes(store) == {ONE: PICKED, "r2": PICKED}
    assert logs(store) == [(PickLogState.READ, None)]


def test_a_file_is_read_only_when_it_has_stayed_as_it_is(folder, store, plan, looks):
    path = folder / "run.csv"
    path.write_text("plan,target,outcome\np1,1,picked\n")
    looks.once()
    path.write_text("plan,target,outcome\np1,1,picked\np1,2,failed\n")
    looks.once()
    looks.once(after_s=2.0)
    assert logs(store) == []
    looks.once(after_s=3.0)
    assert outcomes(store) == {ONE: PICKED, "r2": FAILED}


def test_the_same_bytes_are_read_once(folder, store, plan, looks):
    """As a second file, and after a restart."""
    for name in ("run.csv", "run (copy).csv"):
        (folder / name).write_text("plan,target,outcome\np1,1,picked\n")
    looks.until_settled()
    before = events(store)
    Looks(folder, store).until_settled()
    assert len(store.pick_logs.latest()) == 1
    assert events(store) == before


def test_what_contradicts_an_earlier_log_is_refused(folder, store, plan, looks):
    (folder / "a.csv").write_text("plan,target,outcome\np1,1,picked\n")
    looks.until_settled()
    (folder / "b.csv").write_text("plan,target,outcome\np1,1,failed\n")
    looks.until_settled()
    assert logs(store) == [(PickLogState.REFUSED, "contradictory"), (PickLogState.READ, None)]
    assert outcomes(store) == {ONE: PICKED}


def test_a_program_that_dies_between_the_plan_and_the_log_reads_it_again(
    folder, store, plan, looks, monkeypatch
):
    """The plan knows already; told again, nothing changes but that the log is on record."""
    (folder / "run.csv").write_text("plan,target,outcome\np1,1,picked\n")

    def full(*arguments):
        raise RecordError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(store.pick_logs, "add", full)
        looks.once()
        with pytest.raises(RecordError):
            looks.once()
    before = events(store)
    looks.until_settled()
    assert logs(store) == [(PickLogState.READ, None)]
    assert events(store) == before


def test_a_folder_that_goes_away_and_comes_back_loses_nothing(folder, store, plan, looks):
    away = folder.rename(folder.with_name("away"))
    looks.until_settled()
    assert list(looks.reader.out_of_reach) == [str(folder)]
    away.rename(folder)
    (folder / "run.csv").write_text("plan,target,outcome\np1,1,picked\n")
    looks.until_settled()
    assert looks.reader.out_of_reach == {}
    assert outcomes(store) == {ONE: PICKED}


def test_what_is_no_log_is_not_looked_at(folder, store, looks):
    """Folders, hidden files and other endings; what is far too large is refused unread."""
    (folder / "run.csv.d").mkdir()
    (folder / "folder.csv").mkdir()
    (folder / ".run.csv").write_text("x\n")
    (folder / "run.txt").write_text("x\n")
    with (folder / "large.csv").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    looks.until_settled()
    assert logs(store) == [(PickLogState.REFUSED, "too-large")]


def test_status_shows_what_could_not_be_used_until_it_is_gone(folder, store, tmp_path, looks):
    path = folder / "run.csv"
    path.write_text("plan,target,outcome\nnone,1,picked\n")
    looks.until_settled()
    config = tmp_path / "config.yaml"
    url = store.database.url
    config.write_text(f"record: {{folder: {tmp_path}, database: '{url}'}}\n")
    (shown,) = call("status", "--json", "--config", config).document["pick_logs"]
    assert (shown["file"], shown["reason"]) == (str(path), "unknown-plan")
    assert "refused (unknown-plan): none: there is no removal plan" in " ".join(
        (words := call("status", "--config", config)).err.split() + words.out.split()
    )
    path.unlink()
    assert call("status", "--json", "--config", config).document["pick_logs"] == []


def test_the_daemon_looks_into_the_folder_on_its_scheduler(folder, store, plan):
    from apscheduler.schedulers.background import BackgroundScheduler

    outlets = {"removal": {"pick_logs": {"folder": str(folder), "settle_s": 0.0}}}
    daemon = Daemon(Config.model_validate({"outlets": outlets}), store)
    (folder / "run.csv").write_text("plan,target,outcome\np1,1,picked\n")
    scheduler = BackgroundScheduler(timezone="UTC")
    daemon._schedule(scheduler)
    (job,) = [job for job in scheduler.get_jobs() if daemon._read_pick_logs in job.args]
    assert job.trigger.interval.total_seconds() == PICK_LOGS_S
    for _ in range(2):
        job.func(*job.args)
    assert outcomes(store) == {ONE: PICKED}
