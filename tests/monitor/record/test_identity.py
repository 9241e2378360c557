"""What makes two files the same field, and what happens where two files claim to be one."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from monitor.culture import AlertTopic, CaptureState
from monitor.errors import UsageError
from monitor.record.intake import TakenIn
from tests.monitor.facts import (
    NOW,
    hours,
    measure,
    measurement,
    minutes,
    place,
    read,
    reopen,
    seen,
    sha256_of,
)

SAME = sha256_of("pixels")
WELLS = ("plate/A1", "plate/A2", "plate/A3")


def captures(store):
    return store.captures.find(range(1, 1000))


def outcomes(store):
    return {str(one.path): (str(one.state), one.reason) for one in captures(store)}


def names(store):
    return [dish.name for dish in store.dishes.dishes()]


def file_of(folder: Path, name: str, *, content="x", mtime_s=1000) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (mtime_s, mtime_s))
    return path


def take_file(store, path: Path, content="same", *, at=NOW, **said):
    mtime_ns = path.stat().st_mtime_ns if path.exists() else 1
    return store.captures.take_in(seen(path, content, mtime_ns=mtime_ns, **said), at)


def measured_as(store, capture, where, at=NOW, **changes):
    (claimed,) = store.captures.claim_due("me", at, limit=1, only=[capture.id])
    return store.captures.record_measurement(claimed.id, "me", where, measurement(**changes), at)


def show(store, path, where, measured, at=NOW):
    """As `measure`, also for what makes no scan."""
    _, capture = store.captures.take_in(seen(path, identity=where.named), at)
    (claimed,) = store.captures.claim_due("me", at, limit=1, only=[capture.id])
    return store.captures.record_measurement(claimed.id, "me", where, measured, at)


# --- dishes of two sources ----------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_dishes_of_several_sources_have_names_that_do_not_depend_on_who_came_first(store, order):
    for source in order:
        for dish in ("dish-07", f"only-{source}"):
            read(store, measure(store, f"/{source}/{dish}", place(dish, source=source)))
    assert names(store) == [
        "a:dish-07", "b:dish-07", "c:dish-07", "only-a", "only-b", "only-c",
    ]  # fmt: skip
    for source in "abc":
        (reading,) = store.dishes.history(f"{source}:dish-07")
        assert reading.captures == 1


def test_one_scan_is_never_out_of_two_sources(store):
    """Also where both say the same key and the same time."""
    first = measure(store, "/a/1", place("d", key="s1", field="1", source="a"))
    second = measure(store, "/b/1", place("d", key="s1", field="2", source="b"))
    assert first != second
    assert measure(store, "/a/2", place("e", field="1", source="a")) != measure(
        store, "/b/2", place("e", field="2", source="b")
    )


def test_a_scan_does_not_wait_for_captures_of_the_same_label_in_another_source(store):
    scan = measure(store, "/a/1", place("d", source="a"))
    store.captures.take_in(seen("/b/1", dish="d", source="b"), NOW)
    assert store.scans.scans_to_read(NOW + minutes(1), {}, {}) == [scan]
    store.captures.take_in(seen("/a/2", dish="d", source="a"), NOW)
    assert store.scans.scans_to_read(NOW + minutes(1), {}, {}) == []


def test_a_full_name_is_understood_where_the_plain_one_is_enough(store):
    read(store, measure(store, "/a/1", place("d", source="a")))
    assert store.lines.line("a:d").name == "d"
    with pytest.raises(UsageError, match="no dish of this name"):
        store.lines.line("b:d")
    read(store, measure(store, "/b/1", place("d", source="b")))
    assert store.lines.line("a:d").source == "a"
    with pytest.raises(UsageError, match="use a:d or b:d"):
        store.lines.line("d")


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_label_that_looks_like_the_full_name_of_another_dish_is_told_from_it(store, order):
    files = [("a", "b:d"), ("a", "d"), ("b", "d")]
    for source, dish in files[order:] + files[:order]:
        read(store, measure(store, f"/{source}/{dish}", place(dish, source=source)))
    assert names(store) == ["a:b:d", "a:d", "b:d"]
    assert [store.lines.line(name).source for name in names(store)] == ["a", "a", "b"]


def test_a_source_named_like_a_dish_is_no_confusion(store):
    read(store, measure(store, "/1", place("d", source="d")))
    read(store, measure(store, "/2", place("d", source="x")))
    assert names(store) == ["d:d", "x:d"]


def test_lines_that_followed_one_another_keep_their_order_when_their_source_is_said(store):
    read(store, measure(store, "/a/1", place("d", source="a")))
    store.lines.end("d", at=NOW + hours(1), who="mika", note=None, now=NOW + hours(2))
    at = NOW + hours(3)
    read(store, measure(store, "/a/2", place("d", source="a"), measurement(acquired_at=at), at=at))
    assert names(store) == ["d", "d#1"]
    read(store, measure(store, "/b/1", place("d", source="b")))
    assert names(store) == ["a:d", "a:d#1", "b:d"]
    assert store.lines.line("a:d#1").ended_at == NOW + hours(1)


def test_a_name_that_a_person_gave_stays_and_is_never_given_to_another_dish(store):
    read(store, measure(store, "/a/1", place("d", source="a")))
    store.lines.rename("d", "e", who="mika", now=NOW)
    read(store, measure(store, "/b/1", place("d", source="b")))
    read(store, measure(store, "/b/2", place("e", source="b")))
    assert names(store) == ["b:d", "b:e", "e"]
    assert store.lines.line("e").source == "a"
    with pytest.raises(UsageError, match="that is how full names"):
        store.lines.rename("e", "a:x", who="mika", now=NOW)


def test_ending_a_dish_leaves_the_one_of_the_same_label_alone(store):
    for source in "ab":
        read(store, measure(store, f"/{source}/1", place("d", source=source)))
    store.lines.end("a:d", at=NOW + hours(1), who="mika", note=None, now=NOW + hours(2))
    assert store.lines.line("b:d").ended_at is None
    at = NOW + hours(3)
    read(store, measure(store, "/b/2", place("d", source="b"), measurement(acquired_at=at), at=at))
    assert len(store.dishes.history("b:d")) == 2
    assert store.lines.resume("a:d", who="mika", now=at).ended_at is None


# --- equal bytes --------------------------------------------------------------------------------


SAYS_THE_SAME = {
    "a copy in a folder": ("/in/backup/d_03_f1.tif", {"dish": "d", "scan": "03", "field": "1"}),
    "a copy whose name says nothing": ("/in/copy of d.tif", {}),
}


@pytest.mark.parametrize("case", SAYS_THE_SAME)
@pytest.mark.parametrize("copy_first", [False, True])
def test_a_copy_is_known_and_no_alert(store, case, copy_first):
    copy, said = SAYS_THE_SAME[case]
    own = {"dish": "d", "scan": "03", "field": "1"}
    files = [seen("/in/d_03_f1.tif", "same", **own), seen(copy, "same", **said)]
    for one in reversed(files) if copy_first else files:
        _, capture = store.captures.take_in(one, NOW)
    (only,) = captures(store)
    assert only.id == capture.id
    assert measured_as(store, only, place("d", key="03", field="1"), fingerprint=SAME)
    assert store.unfinished.equal_pictures(NOW - hours(1)) == []


OTHER_FIELDS = {
    "another dish": {"dish": "e", "scan": "03", "field": "1"},
    "another source": {"dish": "d", "scan": "03", "field": "1", "source": "b"},
    "another time": {"dish": "d", "scan": "04", "field": "1"},
    "another field": {"dish": "d", "scan": "03", "field": "2"},
}


@pytest.mark.parametrize("case", OTHER_FIELDS)
def test_equal_bytes_under_another_field_are_a_capture_of_their_own(store, tmp_path, case):
    """Nobody knows yet that the second one was not looked at."""
    first, second = file_of(tmp_path, "1"), file_of(tmp_path, "2")
    take_file(store, first, dish="d", scan="03", field="1")
    outcome, capture = take_file(store, second, **OTHER_FIELDS[case])
    assert outcome is TakenIn.NEW
    assert len(captures(store)) == 2
    assert (capture.path, capture.source) == (second, OTHER_FIELDS[case].get("source", "incubator"))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("bytes_are_equal", [True, False])
@pytest.mark.parametrize("read_between", [True, False])
def test_one_frame_under_three_wells_is_a_reading_of_none(
    store, tmp_path, order, bytes_are_equal, read_between
):
    """Each well is known all the same. Also where the first was read before the second came."""
    for number in order:
        path = file_of(tmp_path, f"{number}.tif")
        content = "same" if bytes_are_equal else str(number)
        _, capture = take_file(store, path, content, dish=WELLS[number])
        scan = measured_as(store, capture, place(WELLS[number]), fingerprint=SAME)
        if scan is not None and read_between:
            assert read(store, scan) is not None
    assert names(store) == list(WELLS)
    for well in WELLS:
        assert store.dishes.history(well) == []
        assert [one.reason for one in store.timelines.of(well).unreadable] == ["equal-pictures"]
    assert [dish.scans for dish in store.dishes.dishes()] == [0, 0, 0]
    assert {one.dish for one in store.unfinished.equal_pictures(NOW - hours(1))} == set(WELLS)
    assert store.captures.counts() == {"recorded": 0, "unreadable": 3, "waiting": 0}


def test_equal_pictures_are_over_when_each_dish_has_one_of_its_own_again(store):
    for number, well in enumerate(WELLS[:2]):
        show(store, f"/{number}", place(well), measurement(fingerprint=SAME))
    left = []
    for number, well in enumerate(WELLS[:2]):
        at = NOW + hours(1)
        own = measurement(acquired_at=at, fingerprint=sha256_of(well))
        read(store, measure(store, f"/{number}b", place(well), own, at=at))
        left.append([one.dish for one in store.unfinished.equal_pictures(NOW)])
    assert left == [[WELLS[1]], []]


def test_a_reading_of_an_equal_picture_is_taken_back_and_the_rest_of_the_series_stays(store):
    read(store, measure(store, "/0", place(WELLS[0])))
    at = NOW + hours(12)
    stuck = measurement(0, 0, 1000, acquired_at=at, fingerprint=SAME)
    read(store, measure(store, "/1", place(WELLS[0]), stuck, at=at))
    assert len(store.dishes.history(WELLS[0])) == 2
    assert show(store, "/2", place(WELLS[1]), stuck, at) is None
    (kept,) = store.dishes.history(WELLS[0])
    assert kept.at == NOW
    # It is judged anew by what is left.
    (again,) = store.scans.scans_to_read(at + hours(1), {}, {})
    assert again == kept.scan_id


def test_what_was_put_right_is_read_when_it_is_tried_again(store, tmp_path):
    right, wrong = file_of(tmp_path, "1.tif"), file_of(tmp_path, "2.tif")
    for path, well in ((right, WELLS[0]), (wrong, WELLS[1])):
        _, capture = take_file(store, path, dish=well)
        measured_as(store, capture, place(well), fingerprint=SAME)
    wrong.unlink()
    assert store.captures.retry(NOW) == 2
    first, second = captures(store)
    (claimed,) = store.captures.claim_due("me", NOW, limit=1, only=[second.id])
    store.captures.record_waiting(claimed.id, "me", "missing", "gone", NOW)
    scan = measured_as(store, first, place(WELLS[0]), fingerprint=SAME)
    assert scan is not None
    assert read(store, scan) is not None


def test_a_camera_that_is_stuck_over_time_in_one_well_has_its_scans(store, tmp_path):
    """They say that nothing new came, which the alert on the same picture tells."""
    for hour in range(3):
        at = NOW + hours(hour)
        path = file_of(tmp_path, f"{hour}.tif")
        _, capture = take_file(store, path, dish=WELLS[0], scan=str(hour), at=at)
        where = place(WELLS[0], key=str(hour))
        read(store, measured_as(store, capture, where, at, acquired_at=at, fingerprint=SAME))
    assert len(store.dishes.history(WELLS[0])) == 3
    (sign,) = store.dishes.signs()
    assert sign.repeats == 2
    assert store.unfinished.equal_pictures(NOW - hours(1)) == []


# --- moved and renamed --------------------------------------------------------------------------


def test_a_capture_that_was_read_under_a_wrong_name_goes_with_its_right_one(store, tmp_path):
    """Path, source and dish are those of one look; the wrong dish keeps nothing of it."""
    wrong = file_of(tmp_path, "plate_A1.tif")
    _, capture = take_file(store, wrong, dish=WELLS[0])
    scan = measured_as(store, capture, place(WELLS[0]), fingerprint=SAME)
    assert read(store, scan) is not None
    right = wrong.rename(tmp_path / "plate_A2.tif")
    outcome, renamed = take_file(store, right, dish=WELLS[1])
    assert (outcome, renamed.id, renamed.path) == (TakenIn.KNOWN, capture.id, right)
    assert renamed.state is CaptureState.WAITING
    assert store.dishes.history(WELLS[0]) == []
    scan = measured_as(store, renamed, place(WELLS[1]), fingerprint=SAME)
    assert read(store, scan) is not None
    assert len(store.dishes.history(WELLS[1])) == 1
    assert store.unfinished.equal_pictures(NOW - hours(1)) == []


def test_a_file_that_was_only_moved_is_not_measured_again(store, tmp_path):
    said = {"dish": WELLS[0], "scan": "03"}
    old = file_of(tmp_path, "in/a.tif")
    _, capture = take_file(store, old, **said)
    read(store, measured_as(store, capture, place(WELLS[0], key="03")))
    new = old.rename(tmp_path / "a.tif")
    _, moved = take_file(store, new, **said)
    assert (moved.path, moved.state) == (new, CaptureState.RECORDED)
    assert len(store.dishes.history(WELLS[0])) == 1


def test_what_is_written_anew_is_no_renamed_file_though_the_first_was_cleared_away(store, tmp_path):
    """A stuck camera whose files are archived at once is still stuck."""
    first = file_of(tmp_path, "a.tif", mtime_s=1000)
    _, capture = take_file(store, first, dish=WELLS[0])
    read(store, measured_as(store, capture, place(WELLS[0]), fingerprint=SAME))
    first.unlink()
    second = file_of(tmp_path, "b.tif", mtime_s=2000)
    outcome, capture = take_file(store, second, dish=WELLS[1])
    assert outcome is TakenIn.NEW
    assert measured_as(store, capture, place(WELLS[1]), fingerprint=SAME) is None
    assert store.dishes.history(WELLS[0]) == []


def test_a_file_moved_to_another_source_is_a_capture_of_that_source_alone(store, tmp_path):
    old = file_of(tmp_path, "a/d.tif")
    _, capture = take_file(store, old, dish="d", source="a")
    read(store, measured_as(store, capture, place("d", source="a")))
    new = tmp_path / "b" / "d.tif"
    new.parent.mkdir()
    old.rename(new)
    _, moved = take_file(store, new, dish="d", source="b")
    assert (moved.id, moved.path, moved.source) == (capture.id, new, "b")
    read(store, measured_as(store, moved, place("d", source="b")))
    assert store.dishes.history("a:d") == []
    assert len(store.dishes.history("b:d")) == 1


@pytest.mark.parametrize("by_hand_first", [True, False])
def test_what_was_given_by_hand_belongs_to_the_source_that_has_it(store, tmp_path, by_hand_first):
    """Whoever comes first: a source is what an imager writes, a path is what somebody tries."""
    own, copy = file_of(tmp_path, "in/d.tif"), file_of(tmp_path, "copy/d.tif")
    files = [(own, "incubator"), (copy, "unlisted")]
    for path, source in reversed(files) if by_hand_first else files:
        _, capture = take_file(store, path, dish="d", source=source)
        if capture.state is CaptureState.WAITING:
            read(store, measured_as(store, capture, place("d", source=source), fingerprint=SAME))
    (only,) = captures(store)
    assert (only.path, only.source) == (own, "incubator")
    (dish,) = [one for one in store.dishes.dishes() if one.scans]
    assert dish.source == "incubator"


@pytest.mark.parametrize("was_read", [True, False])
@pytest.mark.parametrize("backwards", [True, False])
def test_names_that_were_exchanged_are_exchanged_on_record(store, tmp_path, was_read, backwards):
    """Somebody put right that two wells were called by each other's name."""
    paths = [file_of(tmp_path, f"{number}.tif", mtime_s=1000 + number) for number in range(2)]
    content = {path: path.name for path in paths}

    def look(path):
        number = paths.index(path)
        return take_file(store, path, content[path], dish=WELLS[number])[1]

    def all_read():
        for capture in captures(store):
            if capture.state is CaptureState.WAITING:
                number = paths.index(capture.path)
                shows = sha256_of(content[capture.path])
                where = place(WELLS[number])
                scan = measured_as(store, capture, where, fingerprint=shows)
                if scan is not None:
                    read(store, scan)

    for path in paths:
        look(path)
    if was_read:
        all_read()
    content = dict(zip(paths, reversed(content.values()), strict=True))
    for path in reversed(paths) if backwards else paths:
        look(path)
    all_read()
    assert store.unfinished.equal_pictures(NOW - hours(1)) == []
    for path, well in zip(paths, WELLS, strict=False):
        (reading,) = store.dishes.history(well)
        (field,) = store.scans.scan_fields(reading.id)
        assert field.capture_sha256 == sha256_of(content[path])
    assert not store.captures.any_due(NOW)


# --- two files of one field ---------------------------------------------------------------------


def add(store, path: str, *, field="1", content=None, key="s1", at=NOW, **changes):
    where = place(key=key, field=field)
    return measure(
        store, path, where, measurement(**{"acquired_at": NOW} | changes), content=content, at=at
    )


TIFF = {"fingerprint": sha256_of("tiff"), "pixel_size_from": "metadata"}
JPEG = {"fingerprint": sha256_of("jpeg"), "pixel_size_from": None}
TWO_FORMATS = {
    "TIFF and JPEG": ([("/d.tif", TIFF), ("/d.jpg", JPEG)], "/d.tif"),
    "OME-TIFF and TIFF": ([("/d.ome.tif", TIFF), ("/d.tif", TIFF | JPEG)], "/d.ome.tif"),
    "TIFF and PNG": ([("/d.tif", TIFF), ("/d.png", TIFF | {"pixel_size_from": None})], "/d.tif"),
    "TIFF and JPEG in a folder": ([("/d.tif", TIFF), ("/e/d.JPG", JPEG)], "/d.tif"),
}


@pytest.mark.parametrize("case", TWO_FORMATS)
@pytest.mark.parametrize("field", ["1", None])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("read_between", [False, True])
def test_one_picture_in_two_formats_is_one_field(store, case, field, backwards, read_between):
    files, counts = TWO_FORMATS[case]
    for path, said in reversed(files) if backwards else files:
        scan = add(store, path, field=field, **said)
        outcome = read(store, scan) if read_between else None
    outcome = outcome or read(store, scan)
    assert (outcome.reading.captures, outcome.reading.doubts) == (1, ())
    (other,) = [path for path, _ in files if path != counts]
    assert outcomes(store) == {
        counts: ("recorded", None),
        other: ("unreadable", "other-file-counts"),
    }
    (said,) = outcome.set_aside or [one.message for one in store.unfinished.troubled()]
    assert f"{Path(counts).name} counts for its field in its place" in said


@pytest.mark.parametrize("key", ["s1", None])
def test_one_picture_in_two_formats_is_one_visit_though_both_tell_another_time(store, key):
    first = add(store, "/d.tif", field=None, key=key, **TIFF)
    later = {"acquired_at": NOW + minutes(2)}
    assert add(store, "/d.jpg", field=None, key=key, **JPEG | later) == first


TWICE = {
    "two folders": ("/a/d.tif", "/b/d.tif"),
    "two formats": ("/a/d.tif", "/a/d.png"),
    "TIFF and JPEG": ("/a/d.tif", "/a/d.jpg"),
    "two names": ("/a/d-1.tif", "/a/d-2.tif"),
}


@pytest.mark.parametrize("case", TWICE)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("read_between", [False, True])
@pytest.mark.parametrize("model_changed", [False, True])
def test_a_field_filled_twice_by_different_pictures_is_doubtful_whatever_came_first(
    store, case, backwards, read_between, model_changed
):
    first, second = TWICE[case]
    says = {
        first: {"fingerprint": sha256_of("1")},
        second: {"areas": measurement(0, 10, 990).areas, "fingerprint": sha256_of("2")},
    }
    for path in (second, first) if backwards else (first, second):
        scan = add(store, path, **says[path])
        outcome = read(store, scan) if read_between else None
    outcome = outcome or read(store, scan)
    if model_changed:
        for id_ in reopen(store, "b" * 64):
            (capture,) = store.captures.find([id_])
            said = says[str(capture.path)] | {"model_sha256": "b" * 64}
            scan = measured_as(store, capture, place(key="s1", field="1"), **said)
        outcome = read(store, scan)
    assert outcome.reading.captures == 1
    assert outcome.reading.differentiated_fraction == 0.25  # of the first by its name
    assert outcome.reading.doubts == ("field-filled-twice",)
    assert outcomes(store) == {
        first: ("recorded", None),
        second: ("unreadable", "field-twice"),
    }


def test_a_stage_that_is_stuck_between_fields_counts_its_picture_once_and_in_doubt(store):
    for field in ("1", "2", "3"):
        shows = {"fingerprint": sha256_of("3" if field == "3" else "1")}
        scan = add(store, f"/d_{field}.tif", field=field, **shows)
    outcome = read(store, scan)
    assert (outcome.reading.captures, outcome.reading.doubts) == (2, ("fields-show-the-same",))


def test_channels_and_planes_of_one_field_are_one_picture_of_it(store):
    for number, said in enumerate(
        ({"channel": "Phase"}, {"channel": "BF"}, {"channel": "BF", "plane": 2})
    ):
        scan = measure(
            store,
            f"/{number}.tif",
            place(key="s1", field="1", **said),
            measurement(0, 10 + number, 90, fingerprint=sha256_of(str(number))),
        )
    outcome = read(store, scan)
    assert (outcome.reading.captures, outcome.reading.doubts) == (1, ())
    assert {path for path, (_, why) in outcomes(store).items() if why is None} == {"/1.tif"}


def test_what_was_left_out_counts_when_the_better_file_turns_out_to_be_of_another_dish(
    store, tmp_path
):
    better, worse = file_of(tmp_path, "d.tif"), file_of(tmp_path, "d.jpg")
    for path, said in ((better, TIFF), (worse, JPEG)):
        _, capture = take_file(store, path, str(path), dish="d", scan="s1", field="1")
        scan = measured_as(store, capture, place("d", key="s1", field="1"), **said)
    read(store, scan)
    moved = better.rename(tmp_path / "e.tif")
    take_file(store, moved, str(better), dish="e", scan="s1", field="1")
    outcome = read(store, scan)
    assert outcome.reading.captures == 1
    assert outcomes(store)[str(worse)] == ("recorded", None)


def test_the_topic_of_equal_pictures_is_told_of():
    assert AlertTopic.EQUAL_PICTURES == "equal-pictures"
