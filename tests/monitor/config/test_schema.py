from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.names.patterns import PRESETS, find_pattern
from monitor.config import (
    NAME_PRESETS,
    CalibrationConfig,
    Config,
    SourceConfig,
    UnlistedSettings,
    find_config,
    load_config,
    parse_config,
    settings_sha256,
)
from monitor.errors import ConfigError

WHERE = Path("/etc/colonywatch/config.yaml")
DEFAULT = Path(__file__).parents[3] / "config.yaml"


def parsed(text):
    return parse_config(text, where=WHERE)


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parsed(text)
    return str(caught.value).splitlines()


def one_source(line):
    return f"sources: [{{name: a, path: a, {line}}}]"


# --- the documented default ---------------------------------------------------------------------


def test_the_documented_default_is_the_built_in_default_but_for_its_source():
    documented = load_config(DEFAULT)
    (source,) = documented.sources
    built_in = Config()
    root = DEFAULT.parent
    assert source == SourceConfig(name="incubator", path=root / "captures")
    for section in ("unlisted", "segmentation", "decisions", "outlets", "compute"):
        assert getattr(documented, section) == getattr(built_in, section), section
    assert documented.record == built_in.record.model_copy(update={"folder": root / "state"})


def test_the_documented_default_names_every_key():
    """A key that nobody can read of is a key that nobody uses."""
    text = yaml.safe_load(DEFAULT.read_text())

    def keys(model):
        return {
            name: keys(field.annotation) if hasattr(field.annotation, "model_fields") else None
            for name, field in model.model_fields.items()
        }

    def compare(expected, found, where):
        assert set(found) == set(expected), where
        for name, inner in expected.items():
            if inner is not None:
                compare(inner, found[name], f"{where}.{name}")

    expected = keys(Config)
    (source,) = text.pop("sources")
    expected.pop("sources")
    assert set(source) == set(SourceConfig.model_fields)
    compare(expected, text, "config")


# --- what is wrong, all at once -------------------------------------------------------------------


def test_every_problem_comes_at_once_with_file_key_and_what_is_allowed():
    found = problems(
        """
        sources:
          - {name: "a b", path: x, names: celigo, bogus: 1, pixel_size_um: "1"}
          - {path: 7, timezone: Mars/Base, watch: often}
        outlets: {email: {port: 0, recipients: [nobody]}}
        decisions: {differentiation: {raise_above: 2}, removal: {approval: both}}
        compute: {threads: 1.5}
        typo: 1
        """
    )
    assert all(line.startswith(f"{WHERE}: ") for line in found)
    by_key = {line.split(": ")[1]: line for line in found}
    assert set(by_key) == {
        "sources[0].name",
        "sources[0].names",
        "sources[0].bogus",
        "sources[0].pixel_size_um",
        "sources[1].name",
        "sources[1].path",
        "sources[1].timezone",
        "sources[1].watch",
        "outlets.email.port",
        "outlets.email.recipients[0].address",
        "decisions.differentiation.raise_above",
        "decisions.removal.approval",
        "compute.threads",
        "typo",
    }
    assert "allowed here: " in by_key["sources[0].bogus"]
    assert "pixel_size_um" in by_key["sources[0].bogus"]
    assert "use auto, celigo-field" in by_key["sources[0].names"]
    assert "(is '1')" in by_key["sources[0].pixel_size_um"]
    assert by_key["sources[1].name"].endswith("is missing")
    assert "Asia/Tokyo" in by_key["sources[1].timezone"]
    assert "'auto', 'events' or 'polling'" in by_key["sources[1].watch"]
    assert "'nobody' is not a mail address" in by_key["outlets.email.recipients[0].address"]
    assert "greater than or equal to 1" in by_key["outlets.email.port"]
    assert "sources, unlisted, segmentation" in by_key["typo"]


def test_what_keys_say_together_is_looked_at_beside_what_is_wrong_in_each():
    """A person who mends one layer of problems is not shown another one in the next run."""
    found = problems(
        """
        sources:
          - {name: a, path: 7}
          - {name: a, path: p}
          - {path: q, vessel: {kind: plate-96}, pixel_size_um: big}
        decisions:
          differentiation: {raise_above: 0.01, scans_needed: 9, scans_considered: 4, trend_h: x}
          overrides: [{source: nowhere, limits: {raise_abov: 1, clear_below: 0.5}}]
        outlets:
          email:
            username: u
            port: 0
            recipients: [{address: a@b, sources: [elsewhere]}, nobody]
          channels: [{name: c}, {name: c, url_file: f}]
          removal: {formats: [csv-mapped], handover: pigeon}
        """
    )
    said = [line.removeprefix(f"{WHERE}: ") for line in found]
    for expected in (
        "sources[0].path: ",
        "sources[2].name: is missing",
        "sources[2].pixel_size_um: ",
        "decisions.differentiation.trend_h: ",
        "decisions.differentiation: clear_below (0.05) must be below raise_above (0.01)",
        "decisions.differentiation: scans_needed (9) cannot exceed scans_considered (4)",
        "the file: decisions.overrides[0].limits.raise_abov: is not a known key",
        "outlets.email.port: ",
        "outlets.email.recipients[1].address: ",
        "outlets.email: username and password_file go together",
        "outlets.channels[0].url_file: is missing",
        "outlets.removal.handover: ",
        "outlets.removal: csv-mapped needs columns",
        "the file: two sources are called 'a'",
        "the file: decisions.overrides[0].source: there is no source 'nowhere'",
        "the file: outlets.channels: two are called 'c'",
    ):
        assert any(line.startswith(expected) for line in said), (expected, said)
    assert len(said) == len(set(said))
    assert not any("stand-in" in line for line in said)


WRONG = {
    "not a mapping": ("- a", "must be a mapping of sections, is a list"),
    "only a word": ("word", "must be a mapping of sections, is a str"),
    "not YAML": ("a: [", "is not valid YAML"),
    "a tab": ("a:\n\t- b", "is not valid YAML"),
    "a key twice": ("record: {folder: a}\nrecord: {folder: b}", "key 'record' is given twice"),
    "an inner key twice": ("record:\n  folder: a\n  folder: b\n", "key 'folder' is given twice"),
    "a list as a key": ("? [a, b]\n: c", "a key must be a word"),
    "a number as a key": ("1: a", "not a known key"),
    "an object": ("a: !!python/object/apply:os.system [x]", "is not valid YAML"),
    "no list": ("sources: {}", "sources: must be a list"),
    "an empty list": ("sources:", "sources: must be a list (is None)"),
    "an empty section": ("record:", "record: must be a mapping of keys; leave out the section"),
    "a text for a section": ("record: here", "record: must be a mapping of keys"),
    "one address, no list": ("outlets: {email: {recipients: a@b}}", "must be a list (is 'a@b')"),
    "limits in the wrong order": (
        "decisions: {differentiation: {raise_above: 0.01}}",
        "clear_below (0.05) must be below raise_above (0.01)",
    ),
    "equal limits": (
        "decisions: {differentiation: {raise_above: 0.2, clear_below: 0.2}}",
        "must be below",
    ),
    "more scans than considered": (
        "decisions: {differentiation: {scans_needed: 5}}",
        "scans_needed (5) cannot exceed scans_considered (4)",
    ),
    "critical limits the wrong way round": (
        "decisions: {differentiation: {critical_above: 0.2, critical_clear_below: 0.3}}",
        "critical_clear_below (0.3) must be below critical_above (0.2)",
    ),
    "a limit on a slope without a slope": (
        "decisions: {differentiation: {trend_h: null, rise_above_per_day: 0.1}}",
        "rise_above_per_day needs trend_h",
    ),
    "an override that makes no sense": (
        "decisions: {overrides: [{dishes: 'A*', limits: {raise_above: 0.01}}]}",
        "overrides[0].limits: clear_below (0.05) must be below raise_above (0.01)",
    ),
    "an override of an unknown key": (
        "decisions: {overrides: [{limits: {raise_abov: 0.2}}]}",
        "overrides[0].limits.raise_abov: is not a known key; allowed here: raise_above, ",
    ),
    "an override for a source that is not there": (
        "{sources: [{name: a, path: p}], decisions: "
        "{overrides: [{source: b, limits: {raise_above: 0.2}}]}}",
        "there is no source 'b'; known: a, unlisted",
    ),
    "no number": ("decisions: {differentiation: {raise_above: .nan}}", "less than or equal to 1"),
    "endless": (one_source("settle_s: .inf"), "less than or equal to 3600"),
    "a truth value": (one_source("pixel_size_um: true"), "valid number (is True)"),
    "two sources of one name": (
        "sources: [{name: a, path: x}, {name: a, path: y}]",
        "two sources are called 'a'",
    ),
    "a user without password": (
        "outlets: {email: {username: u}}",
        "username and password_file go together",
    ),
    "a password in the open": (
        "outlets: {email: {username: u, password_file: p, security: none}}",
        "not sent over an unencrypted connection",
    ),
    "not a regular expression": (one_source("names: '(?P<dish>.+'"), "not a regular expression"),
    "a pattern without dish": (one_source("names: '(?P<x>.+)'"), "needs a group (?P<dish>...)"),
    "an unknown preset": (one_source("names: celigo"), "there is no such name pattern; use auto"),
    "a skewed camera": (
        one_source("calibration: {pixel_to_stage: [[1, 0.5], [0, 1]]}"),
        "a rotation or a flip of scale 1",
    ),
    "a camera with a scale": (
        one_source("calibration: {pixel_to_stage: [[2, 0], [0, 2]]}"),
        "the pixel size is a separate setting",
    ),
    "half a matrix": (one_source("calibration: {pixel_to_stage: [[1, 0]]}"), "[1]: is missing"),
    "an empty pattern": (one_source("names: ''"), "at least 1 character"),
    "nobody's home": ("record: {folder: ~nosuchuser/state}", "there is no home folder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    text, says = WRONG[case]
    (line,) = problems(text)
    assert line.startswith(f"{WHERE}: ")
    assert says in line


def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path):
    with pytest.raises(
        ConfigError, match=r"nowhere\.yaml: cannot be read \(No such file.*--config"
    ):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("sources: # M\xfcller".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(tmp_path / "latin.yaml")


@given(st.text(max_size=60))
def test_any_text_is_a_configuration_or_one_clear_error(text):
    try:
        config = parsed(text)
    except ConfigError as problem:
        assert str(problem).startswith(str(WHERE))
    else:
        assert isinstance(config, Config)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["sources", "record", "outlets", "email", "name", "path", "names", "folder"]
                )
                | st.text(max_size=3),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_any_tree_is_a_configuration_or_one_clear_error(tree):
    try:
        parsed(yaml.safe_dump(tree))
    except ConfigError as problem:
        assert all(line.startswith(str(WHERE)) for line in str(problem).splitlines())


# --- what is right ------------------------------------------------------------------------------


def test_an_empty_file_gives_the_defaults():
    for text in ("", "# nothing\n", "{}"):
        config = parsed(text)
        assert config.sources == ()
        assert config.record.folder == Path("/etc/colonywatch/state")


def test_paths_are_relative_to_the_folder_of_the_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = parsed(
        """
        sources: [{name: a, path: captures}, {name: b, path: /data/b}]
        segmentation: {model: models/mine}
        record: {folder: state}
        outlets:
          email: {username: u, password_file: secret, mailbox: mails}
          removal: {folder: ../picker}
        """
    )
    assert [source.path for source in config.sources] == [
        Path("/etc/colonywatch/captures"),
        Path("/data/b"),
    ]
    assert config.segmentation.model == "/etc/colonywatch/models/mine"
    assert config.record.folder == Path("/etc/colonywatch/state")
    assert config.outlets.email.password_file == Path("/etc/colonywatch/secret")
    assert config.mailbox == Path("/etc/colonywatch/mails")
    assert config.removal_folder == Path("/etc/colonywatch/../picker")


def test_the_starter_model_is_a_name_and_no_path():
    assert parsed("segmentation: {model: starter}").segmentation.model == "starter"


def test_home_is_where_the_user_lives(monkeypatch):
    monkeypatch.setenv("HOME", "/home/lab")
    assert parsed("record: {folder: ~/state}").record.folder == Path("/home/lab/state")


DATABASES = {
    "relative": ("sqlite:///my.sqlite", "sqlite:////etc/colonywatch/my.sqlite"),
    "with a driver": ("sqlite+pysqlite:///x/y.db", "sqlite+pysqlite:////etc/colonywatch/x/y.db"),
    "with a timeout": ("sqlite:///a.db?timeout=5", "sqlite:////etc/colonywatch/a.db?timeout=5"),
    "absolute": ("sqlite:////var/lib/a.db", "sqlite:////var/lib/a.db"),
    "in memory": ("sqlite:///:memory:", "sqlite:///:memory:"),
    "a server": ("postgresql://u@host/name", "postgresql://u@host/name"),
}


@pytest.mark.parametrize("case", DATABASES)
def test_a_relative_database_lies_beside_the_file_too(case):
    given_url, expected = DATABASES[case]
    config = parsed(f"record: {{database: '{given_url}'}}")
    assert config.record.database_url == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql+pymysql://u@h/n", "records are kept in SQLite or PostgreSQL"),
        ("mariadb://u@h/n", "records are kept in SQLite or PostgreSQL"),
        ("postgres://u@h/n", r"use postgresql\+psycopg://"),
        ("postgresql+psycopg2://u@h/n", r"use postgresql\+psycopg://"),
        ("my.sqlite", "is not a database URL"),
    ],
)
def test_a_database_that_holds_no_records_is_refused(url, says):
    with pytest.raises(ConfigError, match=f"record.database.*{says}"):
        parsed(f"record: {{database: '{url}'}}")


def test_the_database_lies_in_the_records_folder():
    config = parsed("record: {folder: /var/lib/colonywatch}")
    assert config.record.database_url == "sqlite:////var/lib/colonywatch/colonywatch.sqlite"
    assert config.mailbox == Path("/var/lib/colonywatch/mailbox")
    assert config.removal_folder == Path("/var/lib/colonywatch/removal")
    assert config.overlay_folder == Path("/var/lib/colonywatch/overlays")
    assert config.label_folder == Path("/var/lib/colonywatch/labels")


def test_several_sources_can_share_their_settings():
    config = parsed(
        """
        sources:
          - &first {name: a, path: a, timezone: Asia/Tokyo, pixel_size_um: 2}
          - {<<: *first, name: b, path: b}
        """
    )
    assert [(one.name, one.timezone, one.pixel_size_um) for one in config.sources] == [
        ("a", "Asia/Tokyo", 2.0),
        ("b", "Asia/Tokyo", 2.0),
    ]


def test_every_shipped_preset_can_be_configured():
    assert set(NAME_PRESETS) == set(PRESETS)
    for name in ("auto", *NAME_PRESETS):
        assert parsed(one_source(f"names: {name}")).sources[0].names == name


@pytest.mark.parametrize("group", ["dish", "well", "plate", "barcode"])
def test_what_is_accepted_as_a_pattern_can_be_used(group):
    names = parsed(one_source(f"names: '(?P<{group}>.+)'")).sources[0].names
    assert find_pattern(names) is not None


def test_a_rotated_or_mirrored_camera_is_accepted():
    for matrix in (((0, -1), (1, 0)), ((1, 0), (0, -1)), ((0.8, -0.6), (0.6, 0.8))):
        assert CalibrationConfig(pixel_to_stage=matrix).pixel_to_stage == matrix


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Config().compute.threads = 3


def test_a_capture_belongs_to_the_innermost_source():
    config = parsed("sources: [{name: a, path: /data}, {name: b, path: /data/b}]")
    names = {
        path: source.name if (source := config.source_of(Path(path))) else None
        for path in ("/data/x.tif", "/data/b/x.tif", "/data/bb/x.tif", "/elsewhere/x.tif")
    }
    assert names == {
        "/data/x.tif": "a",
        "/data/b/x.tif": "b",
        "/data/bb/x.tif": "a",
        "/elsewhere/x.tif": None,
    }


# --- trials -------------------------------------------------------------------------------------


def test_a_trial_writes_everything_elsewhere_and_reaches_nobody(tmp_path):
    real = parsed(
        """
        sources: [{name: a, path: /data}]
        record: {folder: /var/lib/colonywatch, database: 'postgresql://u@host/real'}
        decisions: {differentiation: {raise_above: 0.3}}
        outlets:
          email: {server: mail.lab, username: u, password_file: /etc/p, mailbox: /real/mails,
                  recipients: [lab@localhost]}
          removal: {folder: /picker}
        """
    )
    trial = real.with_state(tmp_path)
    assert trial.record.database_url == f"sqlite:///{tmp_path}/colonywatch.sqlite"
    assert trial.outlets.email.server is None
    assert trial.outlets.email.password_file is None
    assert trial.outlets.email.addresses == ("lab@localhost",)
    for folder in (trial.mailbox, trial.removal_folder, trial.overlay_folder, trial.label_folder):
        assert folder.is_relative_to(tmp_path)
    assert trial.sources == real.sources
    assert trial.decisions == real.decisions
    for kept_out in ("/var/lib", "/real", "/picker", "postgresql", "mail.lab"):
        assert kept_out not in repr(trial)


def test_a_trials_folder_is_relative_to_where_one_stands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert Config().with_state(Path("trial")).record.folder == tmp_path / "trial"


def test_the_configuration_is_looked_for_here_then_in_the_system(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("monitor.config.loading.SYSTEM_CONFIG", tmp_path / "etc.yaml")
    assert find_config(None) is None
    (tmp_path / "etc.yaml").write_text("")
    assert find_config(None) == tmp_path / "etc.yaml"
    (tmp_path / "config.yaml").write_text("")
    assert find_config(None) == Path("config.yaml")
    assert find_config(Path("mine.yaml")) == Path("mine.yaml")


def test_without_a_file_the_defaults_hold_where_one_stands(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_config(None).record.folder == tmp_path / "state"


# --- what a measurement depends on ----------------------------------------------------------------


MATTERS = {
    "pixel_size_um: 2": True,
    "well_diameter_mm: 6.4": True,
    "channel: Ch2": True,
    "scan_quiet_s: 5": False,
    "young_s: 5": False,
    "watch: polling": False,
    "fields_per_scan: 20": False,
    "calibration: {id: other}": False,
}


@pytest.mark.parametrize("line", MATTERS)
def test_the_settings_hash_changes_with_what_a_measurement_depends_on(line):
    plain, changed = parsed(one_source("names: auto")), parsed(one_source(line))
    differs = settings_sha256(plain, plain.sources[0]) != settings_sha256(
        changed, changed.sources[0]
    )
    assert differs is MATTERS[line]


def test_the_settings_hash_is_the_same_wherever_things_lie(tmp_path):
    text = "sources: [{name: a, path: a}]\nsegmentation: {model: mine}"
    here, there = parsed(text), parse_config(text, where=tmp_path / "config.yaml")
    assert here.segmentation.model != there.segmentation.model
    expected = settings_sha256(here, here.sources[0])
    assert settings_sha256(there, there.sources[0]) == expected
    trial = here.with_state(tmp_path)
    assert settings_sha256(trial, trial.sources[0]) == expected
    assert len(expected) == 64


def test_a_listed_folder_and_an_unlisted_path_of_equal_settings_have_equal_hashes():
    config = parsed(one_source("well_diameter_mm: 6.4"))
    assert settings_sha256(config, config.sources[0]) == settings_sha256(config, UnlistedSettings())


def test_the_first_override_that_fits_a_dish_gives_its_limits():
    text = """
decisions:
  differentiation: {raise_above: 0.2}
  overrides:
    - {dishes: "35*/A?", limits: {raise_above: 0.3}}
    - {dishes: "35*", source: left, limits: {clear_below: 0.01}}
"""
    decisions = parse_config(text, where=WHERE).decisions
    found = [
        decisions.limits_for(dish, source)
        for dish, source in (("35/A1", "left"), ("35/B1", "left"), ("35/B1", "right"))
    ]
    assert [(one.raise_above, one.clear_below) for one in found] == [
        (0.3, 0.05),
        (0.2, 0.01),
        (0.2, 0.05),
    ]
