"""The audit trail as a signed file that others can check without us.

A CSV with a row an entry; the last two columns are the JSON that was hashed, and its hash. The
signature is Ed25519, 64 bytes in a file beside it, over the CSV as it stands: OpenSSL reads both.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.culture import AuditEntry, Verdict
from monitor.culture.audit_trail import content_of, read_content, verdict_on
from monitor.errors import OutletError, UsageError
from monitor.host.atomic_files import hidden_prefix, stage_whole, sync_folder, write_whole
from monitor.outlets.spreadsheets import as_csv, text_cell

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

KEY, PUBLIC_KEY, SIGNATURE = "audit-key.pem", "audit-key.pub.pem", ".sig"
COLUMNS = ("number", "at", "who", "what", "about", "why", "before", "after", "content", "hash")
_LONGEST_CELL = 2**24
_LARGEST, _LARGEST_KEY = 2**29, 10_000


def write_export(entries: Iterable[AuditEntry], target: Path, folder: Path) -> tuple[int, str]:
    """Write the trail to `target`, its signature beside it; existing files are replaced.

    folder : of the record, where the key lies; it is made when it is first needed
    Returns how many entries it has, and the fingerprint of the key.
    Raises OutletError where a file cannot be read or written.
    """
    key = _signing_key(folder)
    text = io.StringIO()
    text.write(as_csv([COLUMNS]))
    count = 0
    for entry in entries:
        text.write(as_csv([_cells(entry)]))
        count += 1
    content = text.getvalue().encode()
    staged: list[Path] = []
    try:
        # Both are on the disk before either has its name.
        for path, what in ((target, content), (signature_of(target), key.sign(content))):
            staged.append(stage_whole(path, what))
        for path in (signature_of(target), target):
            staged[-1].replace(path)
            staged.pop()
        sync_folder(target.parent)
    except OSError as problem:
        for left in staged:
            left.unlink(missing_ok=True)
        raise OutletError(
            f"{target}: cannot be written ({problem.strerror}); choose another FILE"
        ) from problem
    return count, fingerprint(key.public_key())


def check_export(path: Path, key_file: Path) -> tuple[Verdict, str]:
    """Is the file as it was signed with this key, and its chain whole from its first row?

    Returns what was found, and the fingerprint of the key.
    Raises UsageError where a file is missing, or is none of its kind.
    """
    from cryptography.exceptions import InvalidSignature

    key = _public_key(key_file)
    content = _read(path, _LARGEST, "give a file that `audit export` wrote")
    signature = _read(
        signature_of(path), _LARGEST_KEY, f"the signature has to lie beside {path.name}"
    )
    problems: list[str] = []
    try:
        key.verify(signature, content)
    except InvalidSignature:
        problems.append(
            f"{path.name}: was changed since it was signed, or signed with another key than "
            f"{key_file}"
        )
    found = verdict_on(_entries_in(path, content, problems), first_previous=None)
    return replace(found, problems=(*problems, *found.problems)), fingerprint(key)


def signature_of(path: Path) -> Path:
    return path.with_name(path.name + SIGNATURE)


def fingerprint(key: Ed25519PublicKey) -> str:
    """To be compared by eye: SHA-256 of the key's 32 bytes, in hexadecimal."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _cells(entry: AuditEntry) -> list[str]:
    at = entry.at.isoformat(timespec="microseconds")
    said = (entry.who, entry.what, entry.about, entry.why, entry.before, entry.after)
    return [
        str(entry.number),
        at,
        *(text_cell(one or "") for one in said),
        content_of(entry),
        entry.hash,
    ]


def _entries_in(path: Path, content: bytes, problems: list[str]) -> Iterator[AuditEntry]:
    """problems : what a row says otherwise than its own content is added here"""
    csv.field_size_limit(_LONGEST_CELL)
    try:
        rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
        if tuple(next(rows, ())) != COLUMNS:
            raise ValueError("its first row names other columns")
        for row in rows:
            text, hashed = row[-2:]
            entry = replace(read_content(text), hash=hashed)
            if (_cells(entry) != row or content_of(entry) != text) and len(problems) < 20:
                problems.append(f"entry {entry.number}: its columns say something else than what "
                                "was hashed")  # fmt: skip
            yield entry
    except (ValueError, csv.Error) as problem:
        raise UsageError(
            f"{path}: is no export of an audit trail ({problem}); give a file that `audit export` "
            "wrote"
        ) from problem


def _read(path: Path, most: int, what_now: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read ({problem.strerror}); {what_now}") from problem
    if len(content) > most:
        raise UsageError(f"{path}: is larger than {most // 2**10} KiB; {what_now}")
    return content


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    what_now = f"give the {PUBLIC_KEY} that lies in the record's folder, with --key FILE"
    content = _read(path, _LARGEST_KEY, what_now)
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{path}: is no public Ed25519 key; {what_now}")
    return key


def _signing_key(folder: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = folder / KEY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_key(folder)
        with path.open("rb") as file:
            content = file.read(_LARGEST_KEY)
        key = load_pem_private_key(content, password=None)
    except OSError as problem:
        raise OutletError(
            f"{path}: the key that signs exports can be neither read nor made "
            f"({problem.strerror}); it has to be readable for this account"
        ) from problem
    except (ValueError, TypeError) as problem:
        raise OutletError(
            f"{path}: is no key that signs exports; put it back from a copy, or remove it, and a "
            "new one is made (exports of before are checked with the former public key)"
        ) from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise OutletError(f"{path}: is a key of another kind; only Ed25519 signs exports")
    return key


def _make_key(folder: Path) -> None:
    """For this account alone; of several programs that make one at once, the first one's counts."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    key = Ed25519PrivateKey.generate()
    path = folder / KEY
    handle, name = tempfile.mkstemp(prefix=hidden_prefix(path), dir=folder)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        temporary.unlink(missing_ok=True)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_whole(folder / PUBLIC_KEY, public)
    sync_folder(folder)
