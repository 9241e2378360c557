"""Calls an address while all is well, so that somebody else notices when the calls stop.

The way of healthchecks.io, which others share: the address alone is a success, ``/start`` and
``/fail`` below it say what they say, with a short text as body.
"""

from __future__ import annotations

import http.client
import logging
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from monitor.errors import OutletError

log = logging.getLogger(__name__)

_LONGEST_TEXT = 2000
_LONGEST_ANSWER = 4096


class CheckIn:
    """Calls never raise: what goes wrong is logged once, until it goes well again."""

    def __init__(self, url_file: Path, *, timeout_s: float) -> None:
        self._url_file = url_file
        self._timeout_s = timeout_s
        self._problem: str | None = None

    def start(self) -> bool:
        return self._call("/start", "the daemon has started")

    def success(self) -> bool:
        return self._call("", "")

    def fail(self, text: str) -> bool:
        return self._call("/fail", text)

    def _call(self, ending: str, text: str) -> bool:
        try:
            call(self._url_file, ending, text, timeout_s=self._timeout_s)
        except OutletError as problem:
            if str(problem) != self._problem:
                log.error("%s", problem)
            self._problem = str(problem)
            return False
        if self._problem is not None:
            log.info("the check-in is reachable again")
        self._problem = None
        return True


def call(url_file: Path, ending: str, text: str, *, timeout_s: float) -> None:
    """One call, with a text for people. Raises OutletError; its text does not tell the address."""
    url = address_in(url_file)
    request = urllib.request.Request(
        url + ending,
        data=text.encode("utf-8", "replace")[-_LONGEST_TEXT:],
        headers={"User-Agent": "colonywatch", "Content-Type": "text/plain; charset=utf-8"},
        method="POST",
    )
    try:
        # `address_in` takes http and https alone.
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # nosec B310
            answer.read(_LONGEST_ANSWER)
    except urllib.error.HTTPError as problem:
        problem.close()
        raise OutletError(
            f"the check-in was refused: {problem.code} {problem.reason}; correct the address in "
            f"{url_file}"
        ) from problem
    except (OSError, http.client.HTTPException, ValueError) as problem:
        reason = getattr(problem, "reason", None) or problem
        raise OutletError(
            f"the check-in is out of reach ({reason}); it is tried again"
        ) from problem


def address_in(path: Path) -> str:
    """The address that a file holds. Raises OutletError."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as problem:
        raise OutletError(
            f"{path}: the check-in's address cannot be read "
            f"({getattr(problem, 'strerror', None) or problem}); correct outlets.check_in.url_file"
        ) from problem
    if len(lines) != 1 or urlsplit(lines[0]).scheme not in ("http", "https"):
        raise OutletError(f"{path}: must contain one address that begins with https:// or http://")
    return lines[0].rstrip("/")
