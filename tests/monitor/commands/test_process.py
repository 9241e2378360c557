"""`process`: the whole line once, over whatever a person points it at."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import tifffile
import yaml

from model.simulation.fields import simulate_field
from monitor.host.clock import utc_now
from monitor.record.sources import ConfiguredSource
from monitor.record.store import Store
from tests.monitor.commands.calls import (
    DONE,
    FAILED,
    LIMIT_S,
    MISUSED,
    STOPPED,
    as_ordinary_user,
    call,
    command,
    spawn,
)

FIRST = "dish-07_20261102T030000Z_f1.ome.tif"
SECOND = "dish-07_20261102T090000Z_f1.ome.tif"


def status(state: Path) -> dict[str, int]:
    found = call("status", "--json", "--state", state).document
    captures: dict[str, int] = found["captures"]
    return captures


def unreadable(state: Path) -> dict[str, str]:
    """File name -> reason."""
    found = call("status", "--json", "--state", state).document
    return {Path(one["file"]).name: one["reason"] for one in found["troubled"]}


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_size,
            path.lstat().st_mtime_ns,
        )
        for path in folder.rglob("*")
    }


def test_the_json_form_is_what_was_promised_and_a_second_time_all_is_known(captures, config, state):
    answer = spawn("process", captures, "--config", config, "--state", state, "--json")
    assert answer.code == DONE
    found = answer.document
    assert (found["recorded"], found["unreadable"], found["waiting"]) == (0, 0, 0)
    assert found["known"] == 2
    assert found["dishes"] == ["dish-07"]
    assert status(state) == {"recorded": 2, "unreadable": 0, "waiting": 0}
    history = call("history", "dish-07", "--format", "json", "--state", state).document["readings"]
    assert [one["version"] for one in history] == [1, 1]


def test_files_that_are_as_they_were_are_not_read_again(captures, state, tmp_path):
    """Else going on with a large backfill would first read all that was done, from a slow share."""
    copy = Path(shutil.copytree(captures, tmp_path / "copy"))
    first = spawn("process", copy, "--state", state, "--json").document
    assert (first["known"], first["recorded"]) == (2, 0)
    about = (copy / FIRST).stat()
    with (copy / FIRST).open("r+b") as file:
        file.write(b"other bytes")
    os.utime(copy / FIRST, ns=(about.st_atime_ns, about.st_mtime_ns))
    second = spawn("process", copy, "--state", state, "--json").document
    assert (second["known"], second["unreadable"], second["dishes"]) == (2, 0, ["dish-07"])
    os.utime(copy / FIRST)
    third = spawn("process", copy, "--state", state, "--json").document
    assert (third["known"], third["unreadable"]) == (1, 1)


def test_words_go_with_the_result_to_standard_output_and_remarks_to_standard_error(captures, state):
    answer = spawn("process", captures, "--state", state)
    assert answer.code == DONE
    assert answer.out.startswith("0 recorded, 0 unreadable, 2 known, 0 waiting\ndish-07: 2 scans")
    assert "names: preset dish-time fits 2 of 2" in answer.err


def test_one_call_meets_everything_that_a_folder_can_hold(captures, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    shutil.copy(captures / FIRST, folder / FIRST)
    shutil.copy(captures / FIRST, folder / "dish-07_20261102T030000Z_f1-copy.tif")
    whole = (captures / SECOND).read_bytes()
    (folder / "dish-01_20261102T030000Z.tif").write_text("hello\n")
    (folder / "dish-02_20261102T030000Z.tif").write_bytes(b"")
    (folder / "dish-03_20261102T030000Z.tif").write_bytes(whole[:5000])
    (folder / "whatever.tif").write_bytes(whole)
    (folder / "dish-04\n_20261102T030000Z.tif").write_bytes(whole + b"\0")
    name = os.fsdecode(b"dish-\xff_20261102T030000Z.tif")
    (folder / name).write_bytes(whole + b"\0\0")
    os.mkfifo(folder / "dish-05_20261102T030000Z.tif")
    (folder / "dish-06_20261102T030000Z.tif").symlink_to("/nowhere")
    (folder / "dish-08_20261102T030000Z.tif").mkdir()
    (folder / "notes.txt").write_text("not ours")
    (folder / ".hidden.tif").write_bytes(whole + b"\0\0\0")
    before = snapshot(folder)

    state = tmp_path / "state"
    answer = spawn("process", folder, "--state", state, "--json")
    assert answer.code == DONE, answer.err
    assert answer.document["recorded"] == 1
    assert answer.document["unreadable"] == 6
    assert answer.document["known"] == 1
    assert answer.document["waiting"] == 0
    assert answer.document["dishes"] == ["dish-07"]
    assert unreadable(state) == {
        "dish-01_20261102T030000Z.tif": "not-an-image",
        "dish-02_20261102T030000Z.tif": "empty",
        "dish-03_20261102T030000Z.tif": "truncated",
        "whatever.tif": "no-name-match",
        "dish-04\\n_20261102T030000Z.tif": "no-name-match",
        "dish-\\udcff_20261102T030000Z.tif": "bad-name",
    }
    assert snapshot(folder) == before

    # A second time nothing is counted twice, nothing is left half done, and words are printable.
    answer = spawn("process", folder, "--state", state)
    assert answer.code == DONE
    assert answer.out.startswith("0 recorded, 0 unreadable, 8 known, 0 waiting")
    assert status(state) == {"recorded": 1, "unreadable": 6, "waiting": 0}
    assert answer.err.count("\nunreadable: ") == 6
    assert all(line.isprintable() for line in answer.err.splitlines())


def test_files_may_be_named_one_by_one(captures, state, tmp_path):
    os.mkfifo(tmp_path / "dish-05_20261102T030000Z.tif")
    (tmp_path / "gone.tif").symlink_to("/nowhere")
    named = [captures / FIRST, *sorted(tmp_path.glob("*.tif")), captures / FIRST]
    answer = spawn("process", *named, "--state", state, "--json")
    assert answer.code == FAILED  # one of them is not there
    assert (
        "gone.tif: cannot be read (No such file or directory); going on with the rest" in answer.err
    )
    assert (answer.document["known"], answer.document["unreadable"]) == (1, 1)
    assert unreadable(state) == {"dish-05_20261102T030000Z.tif": "not-a-file"}


def test_a_missing_folder_among_good_ones_is_said_and_the_rest_goes_on(captures, state, tmp_path):
    answer = spawn("process", tmp_path / "missing", captures, "--state", state, "--json")
    assert answer.code == FAILED
    assert (
        "missing: cannot be read (No such file or directory); going on with the rest" in answer.err
    )
    assert answer.document["known"] == 2


def test_folders_that_may_not_be_read_are_said_and_the_rest_goes_on(captures, state, tmp_path):
    before = as_ordinary_user()
    if before is None:
        pytest.skip("setpriv is not installed: root may read everything")
    for name in ("closed", "outer/closed"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0)
    shutil.copy(captures / FIRST, tmp_path / "outer")
    answer = spawn(
        "process", tmp_path / "closed", tmp_path / "outer", captures, "--state", state, "--json",
        before=before,
    )  # fmt: skip
    assert answer.code == FAILED
    assert f"{tmp_path / 'closed'}: cannot be read (Permission denied)" in answer.err
    assert f"{tmp_path / 'outer' / 'closed'} cannot be listed (Permission denied)" in answer.err
    assert answer.document["known"] == 3


def test_a_capture_that_may_not_be_read_waits_and_a_locked_source_is_no_fault(
    captures, state, tmp_path
):
    before = as_ordinary_user()
    if before is None:
        pytest.skip("setpriv is not installed: root may read everything")
    folder = tmp_path / "source"
    folder.mkdir()
    shutil.copy(captures / FIRST, folder)
    closed = folder / "dish-09_20261102T030000Z.tif"
    closed.write_bytes((captures / SECOND).read_bytes() + b"\0")
    closed.chmod(0)
    folder.chmod(0o555)
    answer = spawn("process", folder, "--state", state, "--json", before=before)
    folder.chmod(0o755)
    assert answer.code == DONE
    assert (answer.document["known"], answer.document["waiting"]) == (1, 1)
    assert unreadable(state) == {closed.name: "no-permission"}


def test_copies_without_a_dish_in_their_names_stay_unreadable_until_one_says_it(state, tmp_path):
    field = simulate_field(31, shape=(256, 256), pixel_size_um=2.0, modality="phase")
    for name in ("one.tif", "two.tif", "dish-08_20261102T030000Z.tif"):
        tifffile.imwrite(tmp_path / name, field.image)
    nameless = [tmp_path / "one.tif", tmp_path / "two.tif"]
    for known in (1, 2):
        answer = spawn("process", *nameless, "--state", state, "--json")
        assert answer.document["known"] == known
        assert status(state) == {"recorded": 2, "unreadable": 1, "waiting": 0}
    answer = spawn("process", *sorted(tmp_path.glob("*.tif")), "--state", state, "--json")
    assert answer.document["recorded"] == 1
    assert status(state) == {"recorded": 3, "unreadable": 0, "waiting": 0}


def test_the_state_folder_may_lie_in_the_folder_of_the_captures(captures, state):
    for file in captures.iterdir():
        shutil.copy(file, state.parent)
    assert list(state.rglob("*.png"))
    answer = spawn("process", state.parent, "--state", state, "--json")
    assert (answer.document["known"], answer.document["unreadable"]) == (2, 0)


def test_a_folder_without_pictures_is_said(tmp_path):
    answer = spawn("process", tmp_path, "--state", tmp_path / "state")
    assert answer.code == DONE
    assert "holds no images" in answer.err
    assert answer.out.startswith("0 recorded, 0 unreadable, 0 known, 0 waiting")


def test_two_calls_at_once_on_one_record_count_nothing_twice(captures, config, tmp_path):
    state = tmp_path / "state"
    words = command("process", captures, "--config", config, "--state", state, "--json")
    both = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        out, err = one.communicate(timeout=LIMIT_S)
        assert one.returncode == DONE, err
        found = json.loads(out)
        assert sum(found[key] for key in ("recorded", "known", "waiting")) == 2
    assert status(state) == {"recorded": 2, "unreadable": 0, "waiting": 0}
    history = call("history", "dish-07", "--format", "json", "--state", state).document["readings"]
    assert [one["captures"] for one in history] == [1, 1]
    assert [one["version"] for one in history] == [1, 1]


def test_ctrl_c_leaves_nothing_broken_and_nobody_behind(captures, config, tmp_path):
    state = tmp_path / "state"
    words = command("process", captures, "--config", config, "--state", state)
    # A shell lets what it starts in the background ignore Ctrl-C, tests and their children too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
    finally:
        signal.signal(signal.SIGINT, before)
    until = time.monotonic() + LIMIT_S
    workers: list[psutil.Process] = []
    while not workers and time.monotonic() < until:  # the worker is being started: now
        workers = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == STOPPED
    assert "stopped" in err
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(workers, timeout=LIMIT_S)
    assert alive == []
    again = spawn("process", captures, "--config", config, "--state", state, "--json")
    assert again.code == DONE, again.err
    assert again.document["recorded"] == 2
    assert status(state) == {"recorded": 2, "unreadable": 0, "waiting": 0}


def test_with_less_room_than_is_to_be_left_it_ends_and_says_so(captures, config, tmp_path):
    """It would wait for ever: nobody makes room while a script waits for its end."""
    settings = yaml.safe_load(config.read_text())
    settings.setdefault("record", {})["stop_below_gib"] = 1e6
    careful = tmp_path / "careful.yaml"
    careful.write_text(yaml.safe_dump(settings))
    answer = spawn("process", captures, "--config", careful, "--state", tmp_path / "state")
    assert answer.code == FAILED
    assert "record.stop_below_gib" in answer.err
    assert "and call this again" in answer.err
    assert status(tmp_path / "state") == {"recorded": 0, "unreadable": 0, "waiting": 2}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_said_and_with_more_room_the_work_goes_on(captures, config, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    settings = yaml.safe_load(config.read_text())
    settings.setdefault("record", {})["stop_below_gib"] = None
    to_the_end = tmp_path / "to-the-end.yaml"
    to_the_end.write_text(yaml.safe_dump(settings))
    try:
        words = ("process", captures, "--config", to_the_end, "--state", disk / "state", "--json")
        full = spawn(*words)
        assert full.code == FAILED
        assert "disk is full" in full.document["error"]
        assert "free some space" in full.err
        assert "Traceback" not in full.err
        subprocess.run(["mount", "-o", "remount,size=30m", str(disk)], check=True)
        roomy = spawn(*words)
        assert roomy.code == DONE, roomy.err
        assert status(disk / "state") == {"recorded": 2, "unreadable": 0, "waiting": 0}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_what_waits_is_told_with_its_reason_also_in_the_json_form(captures, config, tmp_path):
    """Where the disk for the overlays is full a script saw "waiting" and not why."""
    overlays = tmp_path / "state" / "overlays"
    overlays.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(overlays)],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        words = ("process", captures, "--config", config, "--state", tmp_path / "state", "--json")
        answer = spawn(*words)
        assert answer.code == DONE
        assert answer.document["waiting"] == 2
        for one in answer.document["not_recorded"]:
            assert (one["state"], Path(one["file"]).name in (FIRST, SECOND)) == ("waiting", True)
            assert "No space left" in one["message"]
    finally:
        subprocess.run(["umount", "-l", str(overlays)], check=False)


def metamorph(path: Path, light: str, *, second: int, seed: int) -> None:
    said = (
        f'<prop id="acquisition-time-local" type="time" value="20261129 10:41:{second}.561"/>'
        '<prop id="spatial-calibration-state" type="bool" value="on"/>'
        '<prop id="spatial-calibration-x" type="float" value="2.0"/>'
        '<prop id="spatial-calibration-units" type="string" value="um"/>'
        f'<prop id="_IllumSetting_" type="string" value="{light}"/>'
    )
    field = simulate_field(seed, shape=(256, 256), pixel_size_um=2.0, modality="phase")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"<MetaData><PlaneInfo>{said}</PlaneInfo></MetaData>"
    tifffile.imwrite(path, field.image, description=text, metadata=None)


def test_of_a_fields_wavelengths_the_transmitted_one_is_read_and_the_others_are_counted(tmp_path):
    """Names say just w1 to w3, seconds apart: they were three scans, two of them of stains."""
    folder, state = tmp_path / "exp7" / "2026-11-29" / "1697", tmp_path / "state"
    lights = {"w1": "DAPI", "w2": "TL 50", "w3": "Cy5"}
    for number, (name, light) in enumerate(lights.items()):
        path = folder / f"exp7_B02_s1_{name}.tif"
        metamorph(path, light, second=50 + number, seed=10 + number)
    answer = spawn("process", tmp_path / "exp7", "--state", state, "--json")
    assert answer.code == DONE, answer.err
    found = answer.document
    assert (found["recorded"], found["unreadable"], found["left_out"]) == (1, 0, 2)
    assert found["left_out_of"] == {"channel w1 (DAPI)": 1, "channel w3 (Cy5)": 1}
    assert found["dishes"] == ["exp7/B2"]
    history = call("history", "exp7/B2", "--format", "json", "--state", state, "--all").document
    (reading,) = history["readings"]
    assert reading["at"].startswith("2026-11-29T10:41:51")
    again = call("process", tmp_path / "exp7", "--state", state, "--json")
    assert (again.code, again.document["known"], again.document["left_out"]) == (DONE, 1, 2)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"e_B02_s1_w1.tif": "DAPI", "e_B02_s1_w2.tif": "FITC"}, "1 of channel w2 (FITC) left out"),
        ({"e/TimePoint_1/ZStep_2/e_B02_s1_w1.tif": "TL 50"}, "1 of plane 2 left out"),
        ({"VID_Green_B2_1_2026y11m29d_03h00m.tif": "Green"}, "1 of channel Green left out"),
    ],
)
def test_a_folder_of_which_all_is_left_out_is_no_success(files, said, tmp_path):
    for name, light in files.items():
        metamorph(tmp_path / "scans" / name, light, second=50, seed=10)
    words = ["process", tmp_path / "scans", "--state", tmp_path / "state"]
    for _ in range(2):
        answer = call(*words)
        assert answer.code == FAILED
        assert said in answer.err and "`channel`" in answer.err
        assert call(*words, "--json").document["left_out"] == len(files)


def test_a_folder_of_which_nothing_can_be_read_is_no_success(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    (folder / FIRST).write_bytes(b"x" * 1000)
    (folder / "holiday.png").write_bytes(b"y" * 1000)
    answer = spawn("process", folder, "--state", tmp_path / "state")
    assert answer.code == FAILED
    assert "there is no reading: 2 unreadable" in answer.err
    assert "name-test" not in answer.err.split("there is no reading")[1]


def test_beside_a_daemon_nothing_is_done_by_what_means_another_folder_by_its_sources_name(tmp_path):
    """A forgotten --config: the built-in source may be called the same and have another zone."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "config.yaml"
    file.write_text("sources: [{name: incubator, path: in}]\n")
    words = ("process", tmp_path / "in", "--config", file, "--state", tmp_path / "state")
    (tmp_path / "state").mkdir()
    daemons = ConfiguredSource("incubator", tmp_path / "elsewhere")
    with Store(f"sqlite:///{tmp_path / 'state' / 'colonywatch.sqlite'}") as store:
        store.sources.settle([daemons], utc_now())
        store.processes.begin("daemon", utc_now())
        answer = call(*words)
        assert answer.code == MISUSED
        assert f"source incubator is {tmp_path / 'elsewhere'} to the daemon" in answer.err
        assert store.sources.place_of("incubator") == daemons.where
