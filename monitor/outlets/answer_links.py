"""Links that answer one alert, for a while: signed, so that nobody can make up another.

A link says for which alert it is and when it was made. The secret lies in a file that this account
alone can read, made when it is first needed; a new secret makes all former links void.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

from itsdangerous import BadData, BadSignature, SignatureExpired, TimestampSigner
from itsdangerous import URLSafeTimedSerializer as Serializer

from monitor.culture import Alert
from monitor.errors import OutletError
from monitor.host.atomic_files import hidden_prefix, sync_folder
from monitor.outlets.wording import plural_days

_SECRET_BYTES = 32
_LONGEST_TOKEN = 400
_USE = "colonywatch: answer an alert"


class LinkError(Exception):
    """A link that cannot be used; the text says why, for the person who followed it."""


class AnswerLinks:
    """secret_file : made where it is missing; good_for : how long a link can be used

    Raises OutletError where the secret can be neither read nor made.
    """

    def __init__(self, secret_file: Path, *, good_for: timedelta) -> None:
        self._good_for = good_for
        self._secret = _secret(secret_file)

    def key_for(self, use: str) -> bytes:
        """A key of its own for another use, from which the secret cannot be told."""
        return hmac.new(self._secret, f"colonywatch: {use}".encode(), hashlib.sha256).digest()

    def token_for(self, alert: Alert, now: datetime) -> str:
        return _serializer(self._secret, now).dumps([alert.id, _mark(alert)])

    def alert_of(self, token: str, now: datetime) -> tuple[int, int]:
        """Number of the alert and its mark. Raises LinkError."""
        if len(token) > _LONGEST_TOKEN:
            raise LinkError("This is not one of our links.")
        seconds = max(1, int(self._good_for.total_seconds()))
        try:
            content = _serializer(self._secret, now).loads(token, max_age=seconds)
            alert_id, mark = content
            return int(alert_id), int(mark)
        except SignatureExpired as problem:
            raise LinkError(
                f"This link has expired: it was valid for {plural_days(self._good_for)}."
            ) from problem
        except (BadSignature, BadData, TypeError, ValueError) as problem:
            raise LinkError("This link is incomplete or not one of ours.") from problem


def is_for(alert: Alert, mark: int) -> bool:
    """Is it the alert that the link was made for? Numbers begin anew with a new record."""
    return _mark(alert) == mark


def dish_page(url: str, dish: str) -> str:
    return f"{url}/dish?name={quote(dish, safe='', errors='surrogateescape')}"


def _mark(alert: Alert) -> int:
    return int(alert.created_at.timestamp())


def _serializer(secret: bytes, now: datetime) -> Serializer:
    class AtNow(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(now.astimezone(UTC).timestamp())

    return Serializer(secret, salt=_USE, signer=AtNow)


def _secret(path: Path) -> bytes:
    try:
        if not path.exists():
            _make_secret(path)
        content = path.read_bytes().strip()
    except OSError as problem:
        raise OutletError(
            f"{path}: the secret for links cannot be read "
            f"or created ({problem.strerror or problem}); give the file to this account, or set "
            "outlets.dashboard.secret_file"
        ) from problem
    if len(content) < _SECRET_BYTES:
        raise OutletError(
            f"{path}: is too short for a secret ({len(content)} of at least {_SECRET_BYTES} "
            f"characters); remove the file, and a new one is created"
        )
    return content


def _make_secret(path: Path) -> None:
    """Two programs may begin at once: one of their secrets stays, and both use it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=hidden_prefix(path), dir=path.parent)
    staged = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(_SECRET_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(staged)
    except FileExistsError:
        return
    finally:
        staged.unlink(missing_ok=True)
    sync_folder(path.parent)
