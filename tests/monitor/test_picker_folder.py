"""What the picker can see, whatever happens: killed programs, full disks, plans that end."""

import csv
import hashlib
import io
import json
import os
import random
import select
import signal
import subprocess
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from monitor.commands.status import describe
from monitor.config import ColumnConfig, Config, OutletsConfig, RecordConfig, RemovalOutletConfig
from monitor.culture import DishStatus, PickOutcome, PlanStatus, ScanDecision
from monitor.errors import OutletError
from monitor.jobs.deliver import deliver_due
from monitor.jobs.picker_folder import deliver_late
from monitor.jobs.withdrawal import take_back_from
from monitor.outlets.picking import FORMATS, Handout, PlanImage, file_stem, stage_plan
from monitor.outlets.picking.formats import write_what_can_be
from monitor.outlets.picking.json_plan import plan_document
from monitor.record.plan_reports import PickReport
from monitor.record.store import Store
from tests.monitor.facts import (
    NOW,
    TARGET,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    removal_plan,
    target_at,
)

KILLS = 40
MAY_BE_SEEN = (PlanStatus.EXPORTED,)


@pytest.fixture
def config(tmp_path) -> Config:
    columns = (ColumnConfig(header="X", value="pick_x_um"),)
    removal = RemovalOutletConfig(
        formats=("csv", "json", "pos", "useq", "csv-mapped"), columns=columns
    )
    return Config(
        record=RecordConfig(folder=tmp_path / "state"), outlets=OutletsConfig(removal=removal)
    )


def open_store(config):
    return Store(config.record.database_url, take_back=take_back_from(config))


def next_plan(store, name, *, at=NOW, approved=True):
    """A scan whose plan takes the place of the dish's former one."""
    scan = measure(store, f"/in/{name}.tif", place(key=name), measurement(acquired_at=at), at=at)
    plan = removal_plan(
        f"plan-{name}",
        status=PlanStatus.APPROVED if approved else PlanStatus.DRAFT,
        created_at=at,
        expires_at=at + hours(12),
        targets=tuple(target_at(n) for n in range(1, 41)),
    )
    read(
        store, scan, ScanDecision(DishStatus.DIFFERENTIATING, plan=plan, replaces_plans=True), at=at
    )
    return plan.id


def deliver(store, config, at=NOW):
    return deliver_due(store, config, lambda: at, stopping=lambda: False)


def seen(folder):
    """What a picker sees: it does not look at hidden names."""
    if not folder.exists():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def refuse_partial(path, taken):
    """Every file that can be seen is whole in itself."""
    content = path.read_bytes()
    if path.suffix == ".json":
        assert len(json.loads(content)["targets"]) == 40, path
    elif path.suffix == ".pos":
        positions = json.loads(content)["map"]["StagePositions"]["array"]
        assert len(positions) == 40, path
    elif path.suffix == ".csv":
        rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
        assert len(rows) == 41, path
        assert content.endswith(b"\r\n"), path
        assert len({len(row) for row in rows}) == 1, path
    elif path.suffix == ".sha256":
        lines = content.decode().splitlines()
        assert len(lines) == 5, path
        for line in lines:
            digest, name = line.split("  ")
            if name in taken:
                continue
            assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest, name
    else:
        assert path.name.endswith(".useq.yaml"), path
        assert content.endswith(b"\n"), path


def refuse_unfit(store, config, taken=()):
    """Every plan that can be seen may be carried out, by what is on record this moment.

    taken : names of files that the picker took away
    """
    plans = {file_stem(plan): plan for plan in store.plans.all()}
    for path in seen(config.removal_folder):
        plan = plans[path.name.split(".")[0]]
        assert plan.status in MAY_BE_SEEN, f"{path.name} is {plan.status}"
        refuse_partial(path, taken)


def take_all(config, taken):
    """A hasty picker takes whatever it sees, and must never see it again."""
    for path in seen(config.removal_folder):
        assert path.name not in taken, f"{path.name} was shown twice"
        taken.add(path.name)
        path.unlink()


# --- killed at any moment -----------------------------------------------------------------------


def work_until_killed(config, number, progress):
    """Plans come, are written, and take the place of former ones, without an end."""
    at = NOW + minutes(5 * number)
    with open_store(config) as store:
        # What the one before left undone.
        deliver(store, config, at)
        count = 0
        while True:
            os.write(progress, b".")
            next_plan(store, f"{number:03d}-{count:03d}", at=at)
            deliver(store, config, at)
            count += 1


def kill_one(config, number, chance):
    """A real process, killed at a random moment of its work."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            work_until_killed(config, number, writer)
        finally:
            os._exit(3)
    os.close(writer)
    try:
        took_s = 0.0
        for _ in range(2):
            began = time.monotonic()
            assert os.read(reader, 1) == b".", "the process ended by itself"
            took_s = time.monotonic() - began
        # Somewhere in the middle of a plan, which takes about as long as the one before.
        select.select([], [], [], chance.uniform(0.0, took_s))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)


@pytest.mark.slow
def test_a_program_that_is_killed_leaves_nothing_that_may_not_be_carried_out(config, store):
    """40 kills at random moments; after each the folder is judged before anything is mended."""
    chance = random.Random(7)
    unfinished = 0
    taken: set[str] = set()
    for number in range(KILLS):
        kill_one(config, number, chance)
        # Without `take_back`, and nothing is delivered: this only looks.
        with Store(config.record.database_url) as looking:
            refuse_unfit(looking, config, taken)
        names = [path.name for path in seen(config.removal_folder)]
        has_checksums = any(name.endswith(".sha256") for name in names)
        unfinished += bool(hidden(config.removal_folder)) or (bool(names) and not has_checksums)
        take_all(config, taken)
    assert unfinished > 0, "no kill came while a plan was being written"

    end = NOW + minutes(5 * KILLS + 60)
    with open_store(config) as again:
        last = next_plan(again, "last", at=end)
        deliver(again, config, end)
        refuse_unfit(again, config)
        live = [plan for plan in again.plans.all() if plan.status in MAY_BE_SEEN]
        assert [(plan.id, plan.status) for plan in live] == [(last, PlanStatus.EXPORTED)]
        assert len(seen(config.removal_folder)) == 6
        assert hidden(config.removal_folder) == []


# --- plans that end -----------------------------------------------------------------------------


def exported(store, config, name="a"):
    plan_id = next_plan(store, name)
    deliver(store, config)
    assert len(seen(config.removal_folder)) == 6
    return plan_id


def end_it(store, how, plan_id):
    if how == "expired":
        store.plans.expire(NOW + hours(12))
    elif how == "superseded":
        next_plan(store, "newer", at=NOW + hours(1), approved=False)
    elif how == "rejected":
        store.plans.reject(plan_id, who="A", now=NOW)
    else:
        reports = [
            PickReport(target.region_id, PickOutcome.PICKED)
            for target in store.plans.plan(plan_id).targets
        ]
        store.plans.acknowledge(plan_id, reports, who="picker", now=NOW)


WAYS = ["expired", "superseded", "rejected", "picked"]


@pytest.fixture
def line(config, database_file):
    with open_store(config) as store:
        yield store


@pytest.mark.parametrize("how", WAYS)
def test_a_plan_that_ends_is_gone_from_the_folder_at_once(line, config, how):
    plan_id = exported(line, config)
    end_it(line, how, plan_id)
    assert seen(config.removal_folder) == []


@pytest.mark.parametrize("how", WAYS)
def test_a_plan_whose_folder_was_out_of_reach_is_withdrawn_when_it_is_back(
    line, config, tmp_path, how, caplog
):
    plan_id = exported(line, config)
    away = tmp_path / "away"
    config.removal_folder.rename(away)
    config.removal_folder.write_text("something else is mounted here")
    end_it(line, how, plan_id)
    assert line.plans.plan(plan_id).status is PlanStatus(how)
    config.removal_folder.unlink()
    away.rename(config.removal_folder)
    deliver(line, config, NOW + hours(13))
    assert seen(config.removal_folder) == []


def test_files_of_a_format_that_is_not_configured_any_more_are_withdrawn_too(line, config):
    plan_id = exported(line, config)
    fewer = config.model_copy(update={"outlets": OutletsConfig()})
    with open_store(fewer) as store:
        end_it(store, "rejected", plan_id)
    assert seen(config.removal_folder) == []


def asking(config, *formats, **settings):
    removal = RemovalOutletConfig(formats=formats, **settings)
    return config.model_copy(update={"outlets": OutletsConfig(removal=removal)})


def test_where_no_format_can_say_what_the_plan_says_nothing_is_shown(line, config):
    next_plan(line, "a")
    assert deliver(line, asking(config, "stg")) == 0
    (message,) = line.outbox.undelivered()
    assert "a .stg list needs one" in message.last_error
    assert message.failed_at is not None
    assert seen(config.removal_folder) == []


def test_a_format_that_cannot_be_written_takes_no_other_down(line, config, caplog):
    """The imager gives no heights, and a stage list needs them."""
    plan_id = next_plan(line, "a")
    assert deliver(line, asking(config, "csv", "stg", "json")) == 1
    plan = line.plans.plan(plan_id)
    files = {path.name.removeprefix(file_stem(plan)): path for path in seen(config.removal_folder)}
    assert set(files) == {".csv", ".json", ".sha256"}
    assert "stg" not in files[".sha256"].read_text()
    assert plan.status is PlanStatus.EXPORTED
    ((name, why),) = plan.handover.unwritten
    assert (name, "a .stg list needs one" in why) == ("stg", True)
    assert "stg not written" in line.plans.events(plan_id)[-1].note
    assert "stg is not written" in caplog.text
    (told,) = describe(line, config)["formats_not_written"]
    assert (told["plan"], told["format"]) == (plan_id, "stg")
    assert plan_document(plan)["handover"]["not_written"][0]["format"] == "stg"


def test_a_fault_in_one_writer_takes_no_other_down():
    """A bug of ours in one format is not to keep a picker from the others."""
    odd = replace(removal_plan(status=PlanStatus.APPROVED), model_sha256=object())
    handout = Handout(odd, {"a" * 64: PlanImage("f.tif", (10, 10))})
    written = write_what_can_be(handout, ["csv", "json"])
    assert list(written.contents) == [".csv"]
    assert "unexpected error" in written.unwritten["json"]


def test_what_could_not_be_written_comes_when_it_can_be(line, config):
    """The settings asked for wells where none are known; put right, the file appears, and the
    others are not shown a second time.
    """
    in_well = (ColumnConfig(header="X", value="well_x_um"),)
    plan_id = next_plan(line, "a")
    deliver(line, asking(config, "csv", "csv-mapped", columns=in_well))
    before = {path.name for path in seen(config.removal_folder)}
    for path in seen(config.removal_folder):
        path.unlink()  # taken by the picker
    deliver_late(line, asking(config, "csv", "csv-mapped", columns=in_well), NOW)
    assert seen(config.removal_folder) == []
    on_stage = (ColumnConfig(header="X", value="pick_x_um"),)
    corrected = asking(config, "csv", "csv-mapped", columns=on_stage)
    for _ in range(2):
        deliver_late(line, corrected, NOW)
        (late,) = seen(config.removal_folder)
        assert late.name.endswith(".mapped.csv")
        assert late.name not in before
    assert line.plans.plan(plan_id).handover.unwritten == ()
    line.plans.reject(plan_id, who="A", now=NOW)
    assert seen(config.removal_folder) == []


def test_a_format_that_is_not_asked_for_any_more_is_not_missed(line, config):
    plan_id = next_plan(line, "a")
    deliver(line, asking(config, "csv", "stg"))
    deliver_late(line, asking(config, "csv"), NOW)
    assert line.plans.plan(plan_id).handover.unwritten == ()


def test_a_record_that_fails_in_the_middle_shows_nothing(line, config, caplog):
    """The files are there and the plan's state cannot be written: they go again."""
    next_plan(line, "a")
    with line.database.writing() as session:
        session.connection().exec_driver_sql(
            "CREATE TRIGGER no_export BEFORE UPDATE OF status ON removal_plan "
            "WHEN new.status = 'exported' BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
    assert deliver(line, config) == 0
    assert seen(config.removal_folder) == []
    assert line.plans.plan("plan-a").status is PlanStatus.APPROVED
    with line.database.writing() as session:
        session.connection().exec_driver_sql("DROP TRIGGER no_export")
    assert deliver(line, config, NOW + hours(1)) == 1
    assert len(seen(config.removal_folder)) == 6


# --- a full disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_shows_all_of_a_plan_or_nothing(small_disk):
    plan = removal_plan(
        status=PlanStatus.APPROVED,
        targets=tuple(
            target_at(n, pick_z_um=1.0, well_x_um=0.0, well_y_um=0.0) for n in range(1, 31)
        ),
        expires_at=NOW + timedelta(hours=1),
    )
    handout = Handout(
        plan,
        {TARGET.capture_sha256: PlanImage("a.tif", (500, 500))},
        columns=(ColumnConfig(header="X", value="pick_x_um"),),
    )
    # Protocols need a deck of a robot, which is not described here.
    formats = tuple(name for name in FORMATS if name not in ("opentrons", "pylabrobot"))
    folder = small_disk / "removal"
    folder.mkdir()
    filler = small_disk / "filler"
    outcomes = []
    for free_kb in range(0, 400, 12):
        filler.write_bytes(b"")
        room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(b"\0" * max(room - free_kb * 1024, 0))
        try:
            files = stage_plan(handout, folder, now=NOW, token="t", formats=formats).publish()
        except OutletError as problem:
            assert not problem.permanent
            assert "No space left on device" in str(problem)
            assert list(folder.iterdir()) == []
            outcomes.append(False)
        else:
            assert set(folder.iterdir()) == set(files)
            assert len(files) == len(formats) + 1
            outcomes.append(True)
            for path in files:
                path.unlink()
    # Some had no room, some had; and no more room ever made it worse.
    assert outcomes == sorted(outcomes)
    assert True in outcomes
    assert False in outcomes
