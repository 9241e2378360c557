"""A plan aims by a calibration; where that does not hold any more, nobody may carry it out."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.config import (
    CalibrationConfig,
    Config,
    RecordConfig,
    SourceConfig,
    UnlistedSettings,
    VesselConfig,
)
from monitor.culture import (
    UNLISTED,
    Calibration,
    CalibrationKind,
    DishStatus,
    PlanStatus,
    ScanDecision,
)
from monitor.jobs.deliver import deliver_due
from monitor.jobs.plan_grounds import end_groundless, foreign
from monitor.jobs.withdrawal import take_back_from
from monitor.record.sources import ConfiguredSource
from monitor.record.store import Store
from monitor.stage.calibration import configured_calibration, grounds_of
from tests.monitor.commands.calls import MISUSED, call
from tests.monitor.facts import NOW, hours, measure, measurement, place, read, removal_plan, seen

SCOPE = CalibrationConfig(id="scope-1", pixel_to_stage=((1.0, 0.0), (0.0, 1.0)))
DISH = VesselConfig(kind="dish", well_diameter_mm=35.0, centre_um=(0.0, 0.0))
PICKER = Calibration(
    "picker-1", CalibrationKind.PICKER, "incubator", ((1, 0, 0), (0, 1, 0)), NOW, "A",
    max_age_days=90,
)  # fmt: skip
ON_RECORD = Calibration(
    "taught-1", CalibrationKind.CAMERA, "incubator", ((1, 0, 0), (0, 1, 0)), NOW, "A",
    max_age_days=90,
)  # fmt: skip


@pytest.fixture
def configured(tmp_path):
    def make(*, name="incubator", **settings):
        source = SourceConfig(
            **({"name": name, "path": tmp_path, "calibration": SCOPE, "vessel": DISH} | settings)
        )
        return Config(sources=(source,), record=RecordConfig(folder=tmp_path / "state"))

    return make


def open_store(config):
    return Store(config.record.database_url, take_back=take_back_from(config))


def deliver(store, config, at=NOW):
    deliver_due(store, config, lambda: at, stopping=lambda: False)


def approved(store, config, *, camera=None, picker=None):
    """A plan that was made by what holds now."""
    settings = config.sources[0]
    camera = camera or configured_calibration("incubator", settings)
    plan = removal_plan(
        calibration_id=camera.id,
        picker_calibration_id=None if picker is None else picker.id,
        grounds=grounds_of(camera, picker, settings),
    )
    read(store, measure(store, "/1", place()), ScanDecision(DishStatus.DIFFERENTIATING, plan=plan))
    store.plans.approve(plan.id, who="A", now=NOW)
    return plan.id


def files(config):
    folder = config.removal_folder
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


CHANGES = {
    "another calibration": (
        {"calibration": CalibrationConfig(id="scope-2")},
        "it rests on calibration scope-1, and scope-2 is in use now",
    ),
    "other numbers under the same id": (
        {"calibration": CalibrationConfig(id="scope-1", pixel_to_stage=((1, 0), (0, -1)))},
        "calibration scope-1 was changed",
    ),
    "another pixel size under the same id": (
        {"calibration": CalibrationConfig(id="scope-1", pixel_size_um=1.5)},
        "calibration scope-1 was changed",
    ),
    "another binning": ({"binning": 2}, "calibration scope-1 was changed"),
    "taken out": (
        {"calibration": None},
        "it rests on calibration scope-1, and none is set any longer",
    ),
    "another objective": ({"objective": "10x"}, "calibration scope-1 was changed"),
    "another vessel": (
        {"vessel": DISH.model_copy(update={"centre_um": (500.0, 0.0)})},
        "the vessel of its source was changed",
    ),
    "its source is gone": (
        {"name": "other"},
        "its source incubator is no longer in the configuration",
    ),
}


@pytest.mark.parametrize("handed_out", [False, True], ids=["approved", "handed out"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_changed_in_the_configuration_ends_the_plans_that_rest_on_it(
    configured, name, handed_out
):
    """With a word in the audit trail, and its files leave the picker's folder."""
    before = configured()
    changes, why = CHANGES[name]
    with open_store(before) as store:
        plan = approved(store, before)
        if handed_out:
            deliver(store, before)
            assert files(before)
    after = configured(**changes)
    with open_store(after) as store:
        ((ended, said),) = end_groundless(store, after, NOW, of_gone_sources=True)
        assert ended.id == plan
        assert said.startswith(why)
        assert store.plans.plan(plan).status is PlanStatus.SUPERSEDED
        assert why in (store.plans.events(plan)[-1].note or "")
        assert files(after) == []
        assert end_groundless(store, after, NOW, of_gone_sources=True) == []


def test_what_did_not_change_ends_nothing(configured):
    """Also where other settings of the source did."""
    before = configured()
    with open_store(before) as store:
        plan = approved(store, before)
    after = configured(settle_s=9.0, calibration=SCOPE.model_copy(update={"rms_um": 3.0}))
    with open_store(after) as store:
        assert end_groundless(store, after, NOW) == []
        deliver(store, after)
        assert store.plans.plan(plan).status is PlanStatus.EXPORTED


def test_nothing_is_written_by_a_calibration_that_holds_no_more(configured):
    """Whoever delivers first after the change, before anybody looked at the plans."""
    before = configured()
    with open_store(before) as store:
        plan = approved(store, before)
    after = configured(calibration=CalibrationConfig(id="scope-2"))
    with open_store(after) as store:
        deliver(store, after)
        assert store.plans.plan(plan).status is PlanStatus.SUPERSEDED
        assert files(after) == []
        assert store.outbox.counts().pending == 0


def test_a_calibration_on_record_that_grows_too_old_ends_what_rests_on_it(configured):
    config = configured(calibration=None)
    with open_store(config) as store:
        store.calibrations.add(ON_RECORD)
        approved(store, config, camera=ON_RECORD)
        assert end_groundless(store, config, NOW + timedelta(days=89)) == []
        ((_, why),) = end_groundless(store, config, NOW + timedelta(days=91))
        assert why == "calibration taught-1 is 91 days old, its limit is 90 days: calibrate again"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (replace(PICKER, id="picker-2", made_at=NOW + hours(1)), "picker-2 is in use now"),
        (None, "90 days: calibrate again"),
    ],
    ids=["another one", "too old"],
)
def test_a_picker_calibration_that_does_not_hold_ends_what_rests_on_it(configured, change, why):
    config = configured()
    with open_store(config) as store:
        store.calibrations.add(PICKER)
        approved(store, config, picker=PICKER)
        assert end_groundless(store, config, NOW) == []
        if change is not None:
            store.calibrations.add(change, supersedes=False)
        at = NOW + (hours(2) if change is not None else timedelta(days=91))
        ((_, said),) = end_groundless(store, config, at)
        assert why in said


def test_a_first_picker_calibration_ends_plans_in_the_stages_frame(configured):
    config = configured()
    with open_store(config) as store:
        approved(store, config)
        store.calibrations.add(PICKER, supersedes=False)
        ((_, why),) = end_groundless(store, config, NOW)
        assert why == "it rests on no calibration, and picker-1 is in use now"


def test_a_configuration_that_says_nothing_of_paths_given_by_hand_takes_nothing_back(tmp_path):
    """They are analysed with a file of their own, and approved without naming it again."""
    by_hand = UnlistedSettings(calibration=SCOPE)
    record = RecordConfig(folder=tmp_path / "state")
    with open_store(Config(record=record)) as store:
        plan = removal_plan(
            grounds=grounds_of(configured_calibration(UNLISTED, by_hand), None, by_hand)
        )
        take_in = seen("/1", source=UNLISTED)
        capture = store.captures.take_in(take_in, NOW)[1]
        (claimed,) = store.captures.claim_due("me", NOW, limit=1, only=[capture.id])
        where = place(source=UNLISTED)
        scan = store.captures.record_measurement(claimed.id, "me", where, measurement(), NOW)
        read(store, scan, ScanDecision(DishStatus.DIFFERENTIATING, plan=plan))
        assert store.dishes.source_of(plan.dish) == UNLISTED
        assert end_groundless(store, Config(record=record), NOW) == []
        other = UnlistedSettings(calibration=CalibrationConfig(id="scope-2"))
        ((_, why),) = end_groundless(store, Config(record=record, unlisted=other), NOW)
        assert why == "it rests on calibration scope-1, and scope-2 is in use now"


def watched(store, name, path):
    store.sources.settle([ConfiguredSource(name, path)], NOW)


@pytest.mark.parametrize("other", [{"name": "other"}, {"path": Path("/elsewhere")}])
def test_a_program_with_another_configuration_changes_nothing_of_a_plan(configured, other):
    """A forgotten --config is the usual case: its built-in source may have the same name."""
    before = configured()
    strange = configured(**other, calibration=None)
    with open_store(before) as store:
        watched(store, "incubator", before.sources[0].path)
        plan = approved(store, before)
        assert end_groundless(store, strange, NOW) == []
        deliver(store, strange)
        assert store.plans.plan(plan).status is PlanStatus.APPROVED
        assert files(strange) == []
        deliver(store, before, NOW + hours(1))
        assert store.plans.plan(plan).status is PlanStatus.EXPORTED
        assert files(before)


@pytest.mark.parametrize("words", [("approve",), ("export", "--out", "p.csv")])
@pytest.mark.parametrize("other", ["name: other", "name: incubator"])
def test_a_command_refuses_a_plan_whose_source_its_configuration_does_not_mean(
    configured, tmp_path, words, other
):
    before = configured()
    with open_store(before) as store:
        watched(store, "incubator", before.sources[0].path)
        plan = approved(store, before)
    file = tmp_path / "else.yaml"
    file.write_text(f"sources: [{{{other}, path: /elsewhere}}]\n")
    answer = call(
        "removals", words[0], plan, *words[1:], "--config", file, "--state", tmp_path / "state",
        folder=tmp_path,
    )  # fmt: skip
    assert answer.code == MISUSED
    assert f"{plan}: its source incubator is" in answer.err
    assert "give the daemon's with --config FILE" in answer.err
    assert not (tmp_path / "p.csv").exists()
    with open_store(before) as store:
        assert store.plans.plan(plan).status is not PlanStatus.SUPERSEDED


def test_plans_of_a_source_that_another_machine_watches_are_not_ended(configured):
    config = configured(name="other")
    with open_store(config) as store:
        before = configured()
        store.sources.settle([ConfiguredSource("incubator", Path("/data"), host="far")], NOW)
        approved(store, before)
        assert end_groundless(store, config, NOW, of_gone_sources=True) == []


def test_a_folder_that_is_written_in_another_way_is_the_same(configured):
    """As where the configuration is named by a path with `..` in it."""
    before = configured()
    folder = before.sources[0].path
    with open_store(before) as store:
        watched(store, "incubator", folder)
        approved(store, before)
        (plan,) = store.plans.all()
        assert foreign(plan, store, configured(path=folder / "x" / "..")) is None
        assert foreign(plan, store, configured(path=folder / "x")) is not None


def test_a_source_that_has_a_new_name_keeps_its_plans(configured):
    before, after = configured(), configured(name="incubator-2")
    with open_store(before) as store:
        watched(store, "incubator", before.sources[0].path)
        plan = approved(store, before)
        watched(store, "incubator-2", before.sources[0].path)
        assert end_groundless(store, after, NOW, of_gone_sources=True) == []
        assert store.plans.plan(plan).status is PlanStatus.APPROVED
