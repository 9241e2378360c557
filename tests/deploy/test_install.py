"""install.sh and uninstall.sh, run for real into a staged tree."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from monitor.config import load_config
from monitor.host.clock import utc_now
from monitor.record.store import Store

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPTS = sorted(path.name for path in DEPLOY.glob("*.sh"))
UNITS = (
    "colonywatch.service",
    "colonywatch-dashboard.service",
    "colonywatch-sila.service",
    "colonywatch-failed@.service",
    "colonywatch-backup.service",
    "colonywatch-backup.timer",
)

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not Path("/proc").is_dir(),
    reason="the scripts are for Linux with bash",
)


def run(script: str, *arguments: str | Path, code: int = 0) -> str:
    """Run a script, check its exit code, return all that it said."""
    done = subprocess.run(
        [str(DEPLOY / script), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    return said


def install(root: Path, *arguments: str | Path, code: int = 0) -> str:
    return run("install.sh", "--root", root, "--no-packages", *arguments, code=code)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files_under(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_executable_and_parses(script: str) -> None:
    assert os.access(DEPLOY / script, os.X_OK)
    done = subprocess.run(
        ["bash", "-n", DEPLOY / script], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nset -euo pipefail\n" in (DEPLOY / script).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not on this machine")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(
        ["shellcheck", *SCRIPTS], cwd=DEPLOY, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_lands_where_the_readme_says_with_its_mode(tmp_path: Path) -> None:
    install(tmp_path, "--source", "/mnt/imager")
    modes = {
        "etc/colonywatch": 0o750,
        "etc/colonywatch/config.yaml": 0o640,
        "var/lib/colonywatch": 0o750,
        "var/lib/colonywatch/backups": 0o750,
        "opt/colonywatch/notify-failed.sh": 0o755,
        "opt/colonywatch/README.md": 0o644,
        "usr/local/bin/colonywatch": 0o755,
        **{f"etc/systemd/system/{unit}": 0o644 for unit in UNITS},
    }
    assert {path: mode(tmp_path / path) for path in modes} == modes
    assert (tmp_path / "opt/colonywatch/venv/bin/python").exists()


def test_the_units_call_what_was_installed(tmp_path: Path) -> None:
    install(tmp_path, "--prefix", "/srv/watch")
    for unit in UNITS:
        text = (tmp_path / "etc/systemd/system" / unit).read_text(encoding="utf-8")
        assert "/opt/colonywatch" not in text
        assert unit.endswith(".timer") or "ExecStart=/srv/watch/" in text
    assert (tmp_path / "srv/watch/notify-failed.sh").exists()
    command = (tmp_path / "usr/local/bin/colonywatch").read_text(encoding="utf-8")
    assert "program=/srv/watch/venv/bin/colonywatch\n" in command


@pytest.mark.parametrize(
    "source",
    ["/mnt/imager/captures", "/mnt/plate reader/#1: scans", '/mnt/o"brien\\x', "/mnt/培養/%i"],
)
def test_the_fresh_configuration_reads_the_source_and_writes_to_the_state_folder(
    tmp_path: Path, source: str
) -> None:
    install(tmp_path, "--source", source)
    config = load_config(tmp_path / "etc/colonywatch/config.yaml")
    assert [entry.path for entry in config.sources] == [Path(source)]
    assert config.record.folder == Path("/var/lib/colonywatch")
    assert config.record.database_url == "sqlite:////var/lib/colonywatch/colonywatch.sqlite"
    for folder in (config.mailbox, config.removal_folder):
        assert folder.is_relative_to("/var/lib/colonywatch")


def test_the_fresh_configuration_differs_from_the_default_in_two_lines(tmp_path: Path) -> None:
    install(tmp_path, "--source", "/mnt/imager")
    default = (DEPLOY.parent / "config.yaml").read_text(encoding="utf-8").splitlines()
    fresh = (tmp_path / "etc/colonywatch/config.yaml").read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(default, fresh, strict=True) if old != new]
    assert len(changed) == 2


def test_without_a_source_an_empty_folder_is_watched_and_the_person_is_told(
    tmp_path: Path,
) -> None:
    said = install(tmp_path)
    assert "warning: no --source given" in said
    config = load_config(tmp_path / "etc/colonywatch/config.yaml")
    assert [entry.path for entry in config.sources] == [Path("/var/lib/colonywatch/captures")]
    assert (tmp_path / "var/lib/colonywatch/captures").is_dir()


def test_a_second_run_keeps_an_edited_configuration_and_renews_the_rest(tmp_path: Path) -> None:
    install(tmp_path, "--source", "/mnt/imager")
    config = tmp_path / "etc/colonywatch/config.yaml"
    edited = config.read_text(encoding="utf-8") + "# by hand\n"
    config.write_text(edited, encoding="utf-8")
    unit = tmp_path / "etc/systemd/system/colonywatch.service"
    good = unit.read_text(encoding="utf-8")
    unit.write_text(good + "# an old version\n", encoding="utf-8")
    record = tmp_path / "var/lib/colonywatch/colonywatch.sqlite"
    record.write_bytes(b"the record")
    [first] = (tmp_path / "opt/colonywatch").glob("venv-*")

    said = install(tmp_path, "--source", "/mnt/another")

    assert config.read_text(encoding="utf-8") == edited
    assert "warning: --source /mnt/another is not used" in said
    assert unit.read_text(encoding="utf-8") == good
    assert record.read_bytes() == b"the record"
    [second] = (tmp_path / "opt/colonywatch").glob("venv-*")
    assert second != first
    assert (tmp_path / "opt/colonywatch/venv").resolve() == second.resolve()


def test_an_installation_does_not_split_over_two_prefixes(tmp_path: Path) -> None:
    install(tmp_path, "--prefix", "/srv/watch")
    install(tmp_path)
    said = install(tmp_path, "--prefix", "/opt/colonywatch", code=1)
    assert "it is installed in /srv/watch" in said
    assert not (tmp_path / "opt").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--sorce", "/x"], "unknown argument: --sorce"),
        (["--source"], "--source needs a value"),
        (["--prefix", "relative"], "--prefix must be an absolute path"),
        (["--prefix", "/opt/a b"], "--prefix must be an absolute path"),
        (["--prefix", "/opt/../etc"], "--prefix must be an absolute path"),
        (["--prefix", "/usr/local/"], "--prefix needs a folder of its own"),
    ],
)
def test_misuse_is_named_and_changes_nothing(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    said = install(tmp_path, *arguments, code=2)
    assert f"error: {complaint}" in said
    assert list(tmp_path.iterdir()) == []


def test_packages_are_left_out_of_a_staged_tree_only() -> None:
    for words in (["--no-packages"], ["--packages-from", sys.executable]):
        said = run("install.sh", *words, code=2)
        assert "--no-packages and --packages-from go only with --root" in said


def with_its_own_record(root: Path) -> Path:
    """A configuration whose record lies in the staged tree. Returns the record's file."""
    etc, state = root / "etc/colonywatch", root / "var/lib/colonywatch"
    etc.mkdir(parents=True)
    (root / "captures").mkdir()
    (etc / "config.yaml").write_text(
        f"sources: [{{name: imager, path: {root}/captures}}]\n"
        f"record: {{folder: {state}}}\ncompute: {{threads: 1}}\n"
    )
    return state / "colonywatch.sqlite"


def test_the_installed_program_starts_and_a_bad_upgrade_is_rolled_back(tmp_path: Path) -> None:
    """The wheel is built and installed by the script; what it needs is that of this environment.
    The upgrade's model is damaged, as by a download that broke off.
    """
    record = with_its_own_record(tmp_path)
    said = run("install.sh", "--root", tmp_path, "--packages-from", sys.executable)
    assert f"version    {version('colonywatch')}" in said
    program = tmp_path / "opt/colonywatch/venv/bin/colonywatch"
    done = subprocess.run(
        [program, "--version"], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, version("colonywatch")), done.stderr
    where = subprocess.run(
        [program.with_name("python"), "-c", "import monitor; print(monitor.__file__)"],
        cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(tmp_path), where.stdout + where.stderr
    assert "no mail server is configured" in said  # the program has read the configuration

    with Store(f"sqlite:///{record}") as store:
        store.processes.begin("process", utc_now())
    first = (tmp_path / "opt/colonywatch/venv").readlink()
    unit = tmp_path / "etc/systemd/system/colonywatch.service"
    before = unit.read_text(encoding="utf-8")
    checkout = broken_checkout(tmp_path / "checkout")
    done = subprocess.run(
        [checkout / "deploy/install.sh", "--root", tmp_path, "--packages-from", sys.executable],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "doctor of the new version finds what was well before: model: " in done.stderr
    assert f"NOT upgraded: {version('colonywatch')} runs as before" in done.stderr
    assert (tmp_path / "opt/colonywatch/venv").readlink() == first
    assert [path.name for path in (tmp_path / "opt/colonywatch").glob("venv-*")] == [str(first)]
    assert unit.read_text(encoding="utf-8") == before
    (copy,) = (tmp_path / "var/lib/colonywatch/backups").glob("before-upgrade-*.sqlite")
    assert record.read_bytes() == copy.read_bytes(), "the database is that of before"
    with Store(f"sqlite:///{record}") as store:
        assert len(store.processes.living("process", utc_now())) == 1


def broken_checkout(target: Path) -> Path:
    root = DEPLOY.parent
    for part in ("monitor", "model", "deploy"):
        shutil.copytree(root / part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "constraints.txt", "config.yaml", "README.md", "LICENSE"):
        shutil.copy(root / part, target)
    weights = target / "model/weights/starter/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1000:] = bytes(1000)
    weights.write_bytes(content)
    service = target / "deploy/colonywatch.service"
    service.write_text(service.read_text(encoding="utf-8") + "# newer\n", encoding="utf-8")
    return target


def test_plans_are_read_by_the_group_of_the_picker_and_by_nobody_else(tmp_path: Path) -> None:
    said = install(tmp_path, "--picker-group", "pickers")
    plans = tmp_path / "var/lib/colonywatch-plans"
    assert plans.stat().st_mode & 0o7777 == 0o2750
    drop_in = tmp_path / "etc/systemd/system/colonywatch.service.d/plans.conf"
    assert "ReadWritePaths=/var/lib/colonywatch-plans" in drop_in.read_text(encoding="utf-8")
    assert "set outlets.removal.folder: /var/lib/colonywatch-plans" in said
    assert (tmp_path / "var/lib/colonywatch").stat().st_mode & 0o007 == 0


def test_a_place_with_too_little_room_is_refused_by_what_would_come(tmp_path: Path) -> None:
    """`df` stands in for a small disk."""
    small = tmp_path / "bin"
    small.mkdir()
    (small / "df").write_text("#!/bin/sh\necho head\necho disk 4000 2000 2000 50% /\n")
    (small / "df").chmod(0o755)
    done = subprocess.run(
        [str(DEPLOY / "install.sh"), "--root", str(tmp_path / "root")],
        env={**os.environ, "PATH": f"{small}:{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "2000 MiB free, 3072 MiB needed for the program; free some" in done.stderr


def test_extras_are_kept_for_upgrades_until_they_are_dropped(tmp_path: Path) -> None:
    """An upgrade that forgot the picker's interface would stop the picker."""
    kept = tmp_path / "opt/colonywatch/extras"
    for arguments, expected in (
        (("--extras", "nd2,sila"), "nd2,sila"),
        ((), "nd2,sila"),
        (("--extras", "none"), ""),
        ((), ""),
    ):
        install(tmp_path, *arguments)
        assert kept.read_text(encoding="utf-8").strip() == expected


def test_an_extra_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    said = install(tmp_path, "--extras", "sila,dev", code=2)
    assert "no part is called 'dev'" in said
    offered = said.split("(there are: ")[1].split(")")[0].split()
    assert {"czi", "nd2", "notify", "sila"} <= set(offered)
    assert not {"dev", "bench", "docs"} & set(offered), "nobody needs these to run it"
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_is_too_old_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    said = install(tmp_path / "root", "--python", old, code=1)
    assert "needs Python 3.11 or newer with venv" in said


def test_uninstalling_leaves_the_record_and_the_configuration_and_nothing_else(
    tmp_path: Path,
) -> None:
    install(tmp_path, "--source", "/mnt/imager")
    (tmp_path / "var/lib/colonywatch/colonywatch.sqlite").write_bytes(b"the record")
    run("uninstall.sh", "--root", tmp_path)
    assert files_under(tmp_path) == {
        "etc/colonywatch/config.yaml",
        "var/lib/colonywatch/colonywatch.sqlite",
    }
    assert not (tmp_path / "opt/colonywatch").exists()


def test_purging_leaves_nothing(tmp_path: Path) -> None:
    install(tmp_path, "--prefix", "/srv/watch")
    run("uninstall.sh", "--root", tmp_path, "--purge", "--yes")
    assert files_under(tmp_path) == set()
    assert not (tmp_path / "var/lib/colonywatch").exists()
    assert not (tmp_path / "srv/watch").exists()


def test_purging_without_anybody_to_ask_removes_nothing(tmp_path: Path) -> None:
    install(tmp_path)
    before = files_under(tmp_path)
    said = run("uninstall.sh", "--root", tmp_path, "--purge", code=1)
    assert "add --yes if you mean it" in said
    assert files_under(tmp_path) == before


def test_uninstalling_leaves_what_somebody_else_put_there(tmp_path: Path) -> None:
    install(tmp_path)
    foreign = {
        "opt/colonywatch/notes.txt": "mine",
        "usr/local/bin/colonywatch": "#!/bin/sh\n# another program of that name\n",
        "etc/systemd/system/colonywatch.service.d/override.conf": "[Service]\nNice=0\n",
    }
    for name, text in foreign.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    run("uninstall.sh", "--root", tmp_path)
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in foreign} == foreign


def test_uninstalling_twice_is_harmless(tmp_path: Path) -> None:
    install(tmp_path)
    run("uninstall.sh", "--root", tmp_path)
    assert "uninstalled." in run("uninstall.sh", "--root", tmp_path)
