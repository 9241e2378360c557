"""Which files are known as they are, without holding all of them in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

# Size and time of the last change, ns.
SizeAndTime = tuple[int, int]

MOST = 100_000


class KnownFiles:
    """What files looked like when they were last taken in. The latest are held here, all others are
    asked of the record.

    read : of these files, those that are on record
    most : how many are held; a rescan of a folder with more asks the record anew each time
    """

    def __init__(
        self, read: Callable[[Collection[Path]], dict[Path, SizeAndTime]], *, most: int = MOST
    ) -> None:
        self._read, self._most = read, most
        self._held: dict[Path, SizeAndTime] = {}
        # Files that are no captures are not on record; there is no other place to know them from.
        self._left_out: dict[Path, tuple[SizeAndTime, str]] = {}

    def among(self, paths: Collection[Path]) -> dict[Path, SizeAndTime]:
        """Looks of those of these files that are known. Raises RecordError."""
        found = {}
        for path in paths:
            look = self._held.get(path)
            if look is None and path in self._left_out:
                look = self._left_out[path][0]
            if look is not None:
                found[path] = look
        unknown = [path for path in paths if path not in found]
        if unknown:
            for path, look in self._read(unknown).items():
                self.note(path, look)
                found[path] = look
        return found

    def note(self, path: Path, look: SizeAndTime) -> None:
        """The file was taken in as it looks now."""
        self._held.pop(path, None)
        self._held[path] = look
        while len(self._held) > self._most:
            del self._held[next(iter(self._held))]

    def leave_out(self, path: Path, look: SizeAndTime, why: str = "") -> None:
        """The file is no capture as it looks now."""
        self._left_out[path] = look, why

    def look_again_in(self, folder: Path) -> Counter[str]:
        """Something else may be known of what was left out in a folder: its files are new again.
        Returns how many were left out for which reason.
        """
        again = [path for path in self._left_out if path.parent == folder]
        return Counter(self._left_out.pop(path)[1] for path in again)

    def forget(self, path: Path) -> None:
        self._held.pop(path, None)
