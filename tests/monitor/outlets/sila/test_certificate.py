"""Who the server is: made once, the same for ever, never half."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("cryptography", reason="the extra colonywatch[sila] is not installed")

from cryptography import x509

from monitor.config.sila import SilaConfig
from monitor.errors import ConfigError
from monitor.outlets.sila.certificate import GOOD_FOR, ID_EXTENSION, identity

NOW = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)


def names_of(certificate: bytes) -> set[str]:
    said = x509.load_pem_x509_certificate(certificate).extensions
    names = said.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one.value) for one in names}


def test_it_is_made_once_and_names_the_server(tmp_path):
    own = identity(SilaConfig(), tmp_path, NOW)
    assert identity(SilaConfig(), tmp_path, NOW + timedelta(days=300)) == own
    found = x509.load_pem_x509_certificate(own.certificate)
    assert found.subject.rfc4514_string() == "CN=SiLA2"
    said = found.extensions.get_extension_for_oid(ID_EXTENSION).value.public_bytes()
    assert said.decode() == str(own.server_id)


def test_nobody_else_may_read_the_key(tmp_path):
    identity(SilaConfig(), tmp_path, NOW)
    assert stat.S_IMODE((tmp_path / "server.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "server.crt").stat().st_mode) == 0o644


def test_it_holds_what_clients_call_the_machine(tmp_path):
    settings = SilaConfig(host="0.0.0.0", names=("incubator.lab", "192.0.2.7"))
    assert {"incubator.lab", "192.0.2.7", "localhost"} <= names_of(
        identity(settings, tmp_path, NOW).certificate
    )


def test_a_key_or_certificate_that_is_gone_is_made_again_for_the_same_server(tmp_path):
    own = identity(SilaConfig(), tmp_path, NOW)
    (tmp_path / "server.key").unlink()
    again = identity(SilaConfig(), tmp_path, NOW)
    assert (again.server_id, again.key == own.key) == (own.server_id, False)


def test_without_encryption_there_is_an_id_alone(tmp_path):
    own = identity(SilaConfig(security="none"), tmp_path, NOW)
    assert (own.key, own.certificate) == (None, None)
    assert identity(SilaConfig(), tmp_path, NOW).server_id == own.server_id


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("server.crt", b"x", "holds no certificate"),
        ("server.key", b"x", "is not a private key"),
        ("server-id", b"x", "holds no server id"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused(tmp_path, file, content, said):
    identity(SilaConfig(), tmp_path, NOW)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        identity(SilaConfig(), tmp_path, NOW)


def test_a_key_of_another_certificate_is_refused(tmp_path):
    identity(SilaConfig(), tmp_path / "a", NOW)
    identity(SilaConfig(), tmp_path / "b", NOW)
    mixed = SilaConfig(
        certificate_file=tmp_path / "a/server.crt", key_file=tmp_path / "b/server.key"
    )
    with pytest.raises(ConfigError, match="is not the key of"):
        identity(mixed, tmp_path / "c", NOW)


def test_an_expired_certificate_is_refused_and_says_what_to_do(tmp_path):
    identity(SilaConfig(), tmp_path, NOW)
    with pytest.raises(ConfigError, match="replace it with a valid one"):
        identity(SilaConfig(), tmp_path, NOW + GOOD_FOR)


def test_missing_files_and_folders_are_said(tmp_path):
    gone = SilaConfig(certificate_file=tmp_path / "no.crt", key_file=tmp_path / "no.key")
    with pytest.raises(ConfigError, match=r"no\.crt: cannot be read"):
        identity(gone, tmp_path, NOW)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be written"):
        identity(SilaConfig(), tmp_path / "file", NOW)
