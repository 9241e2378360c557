"""Passwords: what is one, and how it is kept. The only user of argon2.

What is kept is an Argon2id hash (RFC 9106, its second recommended form: 64 MiB, 3 passes), from
which the password cannot be told. To check one takes a tenth of a second and that memory.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from monitor.errors import UsageError

SHORTEST, LONGEST = 10, 200
_FEWEST_LETTERS = 5


class Passwords:
    """hasher : another one than usual, for instance a quick one for tests"""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        # So that it takes as long to refuse a name that is not known.
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        return self._hasher.hash(_same_form(password))

    def is_right(self, password: str, kept: str | None) -> bool:
        """kept : None = there is none, and nothing is right; it takes as long to say so"""
        if self._nobodys is None:
            self._nobodys = self._hasher.hash("nobody's password")
        try:
            self._hasher.verify(kept or self._nobodys, _same_form(password)[: 4 * LONGEST])
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Was it hashed in another way than is usual now?"""
        return self._hasher.check_needs_rehash(kept)


def refuse_weak(password: str, name: str) -> None:
    """Raises UsageError for what is easily guessed. name : of the account that it is for"""
    if len(password) < SHORTEST:
        raise UsageError(f"a password has at least {SHORTEST} letters; this one has less")
    if len(password) > LONGEST:
        raise UsageError(f"a password has at most {LONGEST} letters; this one has more")
    if len(set(password)) < _FEWEST_LETTERS or password.casefold() == name.casefold():
        raise UsageError(
            "this password is easily guessed (the account's name, or few different letters); "
            "take another, for example four words"
        )


def _same_form(password: str) -> str:
    """Keyboards write one letter in several ways."""
    return unicodedata.normalize("NFKC", password)
