"""What a folder may hold that is no capture: nothing of it may stop us, or become a number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.monitor.capture.corpus import bad_files, write_corpus

ROOT = Path(__file__).parents[3]
GIB = 2**30

# Runs in a process of its own, so that a limit on its memory harms nobody else.
DRIVER = """
import json, os, resource, signal, sys, time
from pathlib import Path
from zoneinfo import ZoneInfo

from monitor.capture.names.patterns import parse_name
from monitor.capture.formats.reading import read_picture
from monitor.capture.watching import list_captures
from monitor.config import SourceSettings
from monitor.errors import CaptureError
from monitor.jobs.take_in import look_at

folder, wanted = Path(sys.argv[1]), json.loads(sys.argv[2])
special = {os.fspath(folder / name) for name in wanted["special"]}
opened, answers = [], {}


def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = os.fsdecode(arguments[0])
        if name in special:
            opened.append(name)


def stuck(number, frame):
    raise SystemExit("no answer within 30 s")


sys.addaudithook(audit)
signal.signal(signal.SIGALRM, stuck)
settings = SourceSettings()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * os.sysconf("SC_PAGE_SIZE") + 2 * 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
listed = [os.fsencode(path.name).hex() for path in list_captures(folder)]
for name in [*wanted["bad"], *wanted["named"], *wanted["special"]]:
    path = folder / (name if name in wanted["special"] else os.fsdecode(bytes.fromhex(name)))
    signal.alarm(30)
    seen = look_at(path, "incubator")
    try:
        parse_name(path, "auto", ZoneInfo("UTC"))
        named = "named"
    except CaptureError as refused:
        named = refused.reason
        assert str(refused).isprintable(), ascii(str(refused))
    try:
        read_picture(path, zone=ZoneInfo("UTC"))
        picture = "PICTURE"
    except CaptureError as refused:
        picture = refused.reason
        assert str(refused).isprintable(), ascii(str(refused))
    problem = seen.problem[0] if seen is not None and seen.problem else None
    answers[name] = [picture, named, problem]
    signal.alarm(0)
# Of this program alone: what rusage tells begins with the size of who started it.
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
print(json.dumps({"answers": answers, "listed": listed, "opened": opened, "peak": peak}))
"""


def hexed(paths: list[Path]) -> list[str]:
    return [os.fsencode(path.name).hex() for path in paths]


def test_no_bad_file_is_read_opened_or_allowed_to_take_the_memory(tmp_path):
    folder = tmp_path / "captures"
    folder.mkdir()
    bad, named, special = write_corpus(folder)
    assert len(bad) >= 200
    wanted = {
        "bad": hexed(bad),
        "named": hexed(named),
        "special": [path.name for path in special],
    }
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER, str(folder), json.dumps(wanted)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert answer.returncode == 0, answer.stderr[-3000:]
    found = json.loads(answer.stdout)
    answers = found["answers"]
    pictures = [path.name for path in bad if answers[hexed([path])[0]][0] == "PICTURE"]
    assert pictures == [], "a bad file became a picture"
    transient = {"no-permission", "io-error", "missing"}
    assert not [path.name for path in bad if answers[hexed([path])[0]][0] in transient]
    # Good files whose names are bad are read; whether they have a dish is the name's matter.
    assert {answers[name][0] for name in wanted["named"]} == {"PICTURE"}
    for name in wanted["special"]:
        picture, _, problem = answers[name]
        if name in ("out_20261102_0300.tif",):
            continue  # a link to a file; the listing leaves it out
        assert picture in {"not-an-image", "missing", "io-error"}, (name, picture)
        assert problem is not None or picture == "missing", name
    listed = set(found["listed"])
    assert not listed & set(hexed(special))
    assert listed == {*wanted["bad"], *wanted["named"]}
    devices = [name for name in found["opened"] if "out_2026" not in name]
    assert devices == [], "what is not a file was opened"
    assert found["peak"] < 2.5 * GIB


@pytest.mark.slow
def test_process_goes_on_past_bad_files_and_says_why(tmp_path):
    """The real command with its worker: two good captures among thirty bad ones."""
    from model.simulation.incubator import VirtualDish, write_capture

    folder = tmp_path / "captures"
    folder.mkdir()
    for number in (1, 2):
        dish = VirtualDish(f"good-{number}", number, onset_h=9.0, colony_radius_um=160.0)
        write_capture(
            dish.field(24.0, shape=(256, 256), pixel_size_um=4.0),
            folder / f"good-{number}_20261102T030000Z_f1.ome.tif",
            acquired_at=datetime(2026, 11, 2, 3, tzinfo=UTC),
            stage_x_um=0.0,
            stage_y_um=0.0,
            name=f"good-{number}",
        )
    every = bad_files()
    chosen = {one.kind: one for one in every}
    chosen_files = [*chosen.values(), *every[:: len(every) // 20]]
    hashes = set()
    for number, one in enumerate(chosen_files):
        if one.data is None or one.data in hashes:
            continue
        hashes.add(one.data)
        extension = one.name.rpartition(".")[2]
        (folder / f"bad-{number}_20261102T030000Z_f1.{extension}").write_bytes(one.data)
    os.mkfifo(folder / "fifo_20261102T030000Z.tif")
    (folder / "folder_20261102T030000Z.tif").mkdir()
    (folder / "dangling_20261102T030000Z.tif").symlink_to(folder / "missing")

    def command(*words: str) -> dict:
        answer = subprocess.run(
            [sys.executable, "-m", "monitor", *words, "--json", "--state", str(tmp_path / "state")],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert answer.returncode == 0, answer.stderr[-3000:]
        return json.loads(answer.stdout)

    done = command("process", str(folder))
    assert done["recorded"] == 2
    assert len(hashes) >= 25
    assert done["unreadable"] == len(hashes)
    assert done["waiting"] == 0
    assert sorted(done["dishes"]) == ["good-1", "good-2"]
    status = command("status")
    assert len(status["troubled"]) == len(hashes)
    counted = {one["reason"]: one["captures"] for one in status["troubled_by_reason"]}
    assert counted == Counter(one["reason"] for one in status["troubled"])
    assert all(one["reason"] and one["message"] for one in status["troubled"])
    assert not {"kills-worker", "internal-error"} & {one["reason"] for one in status["troubled"]}
