"""Who the server is: its lasting id, and a key with a certificate that says so.

SiLA 2, part B, asks a server whose certificate nobody has signed for the common name "SiLA2" and
for its id in an extension of its own, by which clients know it again.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from monitor.config.sila import SilaConfig
from monitor.errors import ConfigError
from monitor.host.atomic_files import write_whole

ID_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.58583")
GOOD_FOR = timedelta(days=3650)


@dataclass(frozen=True)
class Identity:
    """server_id : the same for ever. key, certificate, clients : PEM; None = not encrypted"""

    server_id: uuid.UUID
    key: bytes | None = None
    certificate: bytes | None = None
    clients: bytes | None = None


def identity(settings: SilaConfig, folder: Path, now: datetime) -> Identity:
    """The server's id and certificate, made in `folder` where there are none yet.

    Raises ConfigError where files cannot be read, do not belong together or have expired.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server_id = _server_id(folder / "server-id")
    except OSError as problem:
        raise ConfigError(f"{folder}: cannot be written ({problem.strerror})") from problem
    if settings.security == "none":
        return Identity(server_id)
    certificate_file = settings.certificate_file or folder / "server.crt"
    key_file = settings.key_file or folder / "server.key"
    if settings.certificate_file is None and not (certificate_file.exists() and key_file.exists()):
        _make(certificate_file, key_file, server_id, settings, now)
    certificate, key = _read(certificate_file), _read(key_file)
    server_id = _checked(certificate_file, certificate, key_file, key, now) or server_id
    clients = None if settings.clients_file is None else _read(settings.clients_file)
    if clients is not None:
        _refuse_no_certificate(settings.clients_file, clients)
    return Identity(server_id, key, certificate, clients)


def _server_id(path: Path) -> uuid.UUID:
    try:
        return uuid.UUID(path.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        made = uuid.uuid4()
        write_whole(path, f"{made}\n".encode())
        return made
    except ValueError as problem:
        raise ConfigError(
            f"{path}: holds no server id; restore it, or remove it and tell the clients that the "
            "server has a new one"
        ) from problem


def _make(
    certificate_file: Path,
    key_file: Path,
    server_id: uuid.UUID,
    settings: SilaConfig,
    now: datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SiLA2")])
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + GOOD_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, key_cert_sign=True, **usage), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(settings)), critical=False)
        .add_extension(
            x509.UnrecognizedExtension(ID_EXTENSION, str(server_id).encode()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    try:
        _write_secret(
            key_file,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        write_whole(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
        certificate_file.chmod(0o644)  # clients are given it
    except OSError as problem:
        raise ConfigError(
            f"{certificate_file.parent}: no certificate can be made ({problem.strerror})"
        ) from problem


def _write_secret(path: Path, content: bytes) -> None:
    """Nobody else may read it, not for the moment of its making either."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _names(settings: SilaConfig) -> list[x509.GeneralName]:
    """What clients may call this machine."""
    said = ["localhost", "127.0.0.1", "::1", *settings.names]
    if not settings.is_loopback:
        said += [socket.gethostname(), socket.getfqdn()]
    if not settings.is_everywhere:
        said.append(settings.host)
    elif not settings.names:
        said += _own_addresses()
    names: dict[str, x509.GeneralName] = {}
    for one in said:
        try:
            names[one] = x509.IPAddress(ipaddress.ip_address(one))
        except ValueError:
            if one.isascii():
                names[one] = x509.DNSName(one)
    return list(names.values())


def _own_addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[4][0]).partition("%")[0] for address in found]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read ({problem.strerror})") from problem


def _checked(
    certificate_file: Path, certificate: bytes, key_file: Path, key: bytes, now: datetime
) -> uuid.UUID | None:
    """The id that the certificate gives the server, if any."""
    _refuse_no_certificate(certificate_file, certificate)
    found = x509.load_pem_x509_certificate(certificate)
    try:
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as problem:
        raise ConfigError(
            f"{key_file}: is not a private key in PEM form without a password"
        ) from problem
    if private.public_key() != found.public_key():
        raise ConfigError(f"{key_file}: is not the key of {certificate_file}")
    if not found.not_valid_before_utc <= now < found.not_valid_after_utc:
        raise ConfigError(
            f"{certificate_file}: is valid from {found.not_valid_before_utc:%Y-%m-%d} to "
            f"{found.not_valid_after_utc:%Y-%m-%d}; replace it with a valid one, or remove "
            "it if colonywatch made it, and give the clients the new one"
        )
    try:
        said = found.extensions.get_extension_for_oid(ID_EXTENSION).value
        return uuid.UUID(said.public_bytes().decode("ascii"))
    except (x509.ExtensionNotFound, ValueError):
        return None


def _refuse_no_certificate(path: Path | None, content: bytes) -> None:
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError as problem:
        raise ConfigError(f"{path}: holds no certificate in PEM form") from problem


def expires_at(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.astimezone(UTC)
