"""What `doctor` looks at beside settings, how it says to mend things, and the support bundle."""

from __future__ import annotations

import json
import shutil
import stat
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from monitor.commands.doctor_checks import certificates
from monitor.commands.findings import MENDS, Finding
from monitor.commands.support import REMOVED, without_secrets
from monitor.config import Config, RecordConfig
from monitor.config.sila import SilaConfig
from monitor.host.clock import utc_now
from monitor.jobs.backups import backup_name
from tests.monitor.commands.calls import DONE, FAILED, call


def test_each_thing_that_fails_says_how_to_mend_it(tmp_path):
    (tmp_path / "config.yaml").write_text("sources: [{name: a, path: nowhere}]")
    answer = call("doctor", "--json", "--state", "state", folder=tmp_path)
    assert answer.code == FAILED
    for one in answer.document:
        assert (one["mend"] is None) is (one["ok"] is True), one
    shown = call("doctor", "--state", "state", folder=tmp_path)
    assert "how to mend it" in shown.out and "The imager's folder" in shown.out


def test_the_kind_of_thing_says_the_cure_unless_the_finding_does():
    assert "The imager" in Finding("source incubator", False, "gone").cure
    assert "Name the imager" in Finding("sources", None, "none configured").cure
    assert Finding("source incubator", True, "there").cure == ""
    assert Finding("source incubator", None, "odd", "turn it round").cure == "turn it round"
    assert all(len(cure) > 20 for cure in MENDS.values())


@pytest.fixture
def lab(processed: Path, captures: Path, tmp_path: Path) -> Path:
    """A configuration whose source has the two scans of `processed` on record."""
    state = tmp_path / "state"
    shutil.copytree(processed, state)
    (state / "links.secret").write_text("0123456789abcdef-signs-links\n")
    (tmp_path / "secret").write_text("hunter2-of-the-lab\n")
    (tmp_path / "url").write_text("https://chat.example/hook/abcdef123456\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "sources": [{"name": "incubator", "path": str(captures)}],
                "record": {"folder": str(state)},
                "outlets": {
                    "email": {
                        "server": "127.0.0.1",
                        "port": 9,
                        "security": "starttls",
                        "timeout_s": 1,
                        "password_file": str(tmp_path / "secret"),
                        "username": "colonies-account",
                        "recipients": ["ada@lab.example"],
                    },
                    "check_in": {"url_file": str(tmp_path / "url")},
                },
            }
        )
    )
    return config


def test_backups_are_looked_for_and_their_age_is_told(lab, tmp_path):
    def said(folder: Path) -> list[tuple[bool | None, str]]:
        found = call("doctor", "--json", "--config", lab).document
        return [(one["ok"], one["text"]) for one in found if one["what"] == "backup"]

    folder = tmp_path / "state" / "backups"
    ((ok, text),) = said(folder)
    assert ok is None and "there is none" in text
    folder.mkdir()
    (folder / backup_name(utc_now() - timedelta(days=3))).touch()
    ((ok, text),) = said(folder)
    assert ok is None and "3 days ago" in text
    (folder / backup_name(utc_now())).touch()
    (ok, text), (also_ok, also) = said(folder)
    assert ok is True and text.startswith("2 in ")
    assert also_ok is None and "disk of the record" in also


def test_the_age_of_certificates_is_told(tmp_path):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def certificate(file: Path, days: float) -> Path:
        key, now = ec.generate_private_key(ec.SECP256R1()), utc_now()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=400))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        return file

    def found(days: float) -> Finding:
        own = certificate(tmp_path / "own.pem", days)
        sila = SilaConfig(certificate_file=own, key_file=own)
        config = Config(record=RecordConfig(folder=tmp_path))
        outlets = config.outlets.model_copy(update={"sila": sila})
        (one,) = certificates(config.model_copy(update={"outlets": outlets}))
        return one

    assert found(200.5).ok is True and "200 days" in found(200.5).text
    assert found(10).ok is None and "renewed" in found(10).cure
    assert found(-1).ok is False and "ended on" in found(-1).text


SECRETS = {
    "postgresql+psycopg://lab:pa55@db/colonies": f"postgresql+psycopg://{REMOVED}@db/colonies",
    "smtp login password=hunter2, then": f"smtp login password={REMOVED}, then",
    '{"token": "abc"}': f'{{"token": "{REMOVED}"}}',
    "Authorization: Bearer abcdef": f"Authorization: {REMOVED}",
    "GET /answer/eyJ.abc-1 200": f"GET /answer/{REMOVED} 200",
    "mailed ada.l@lab.example and more": f"mailed {REMOVED}@lab.example and more",
    "dish 3500003816/A1 at 12:30": "dish 3500003816/A1 at 12:30",
    "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----": REMOVED,
}


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_secret_is_removed_and_nothing_else(text):
    assert without_secrets(text, []) == SECRETS[text]


def test_a_support_bundle_tells_all_but_secrets_and_pictures(lab, tmp_path):
    target = tmp_path / "support.zip"
    answer = call("support", target, "--config", lab)
    assert answer.code == DONE, answer.err
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with zipfile.ZipFile(target) as bundle:
        parts = {name: bundle.read(name).decode() for name in bundle.namelist()}
    assert {"doctor.json", "status.json", "config.yaml", "packages.txt", "machine.json",
            "journal.txt"} <= set(parts)  # fmt: skip
    everything = "\n".join(parts.values())
    links = (tmp_path / "state" / "links.secret").read_text().strip()
    for secret in ("hunter2", "abcdef123456", "colonies-account", "ada@lab", links):
        assert secret not in everything, secret
    assert json.loads(parts["status.json"])["captures"]["recorded"] == 2
    assert "numpy==" in parts["packages.txt"]
    assert not [name for name in parts if name.endswith((".jpg", ".png", ".tif", ".sqlite"))]


def test_a_bundle_that_cannot_be_written_is_said(lab, tmp_path):
    answer = call("support", tmp_path / "no" / "such" / "x.zip", "--config", lab)
    assert answer.code != DONE and "cannot be written" in answer.err
