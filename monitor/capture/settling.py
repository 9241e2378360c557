"""When a file that somebody writes may be taken as whole.

A file counts as whole when two looks, one quiet time apart, find the same size and modification
time. Neither an event nor its absence proves anything: writers close and open again, shares send
no events, virus scanners send too many. Pure: the time is a monotonic clock's, passed in.

What a folder says of a file may be old: over sshfs its size and time stand still for up to 20 s
while it grows. So looks are those of the opened file (`filesets.look_at_open_file`), of which every
file system tells the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Events may put a look off only so long: a file that is touched for ever is looked at all the same.
_LONGEST_PUT_OFF = 3.0


@dataclass
class _Pending:
    due: float
    since: float
    seen: tuple[int, int] | None = None
    seen_at: float = 0.0


class Settling:
    """Files that were noticed and are not yet known to be whole.

    quiet_s : how long a file must stay as it is
    """

    def __init__(self, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._pending: dict[Path, _Pending] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, path: Path) -> bool:
        return path in self._pending

    def noticed(self, path: Path, now: float, *, replaced: bool = False) -> None:
        """An event for `path`, or a rescan saw it: its quiet time starts, or starts again.

        replaced : another file lies there than before, though it may look the same
        """
        pending = self._pending.get(path)
        if replaced and pending is not None:
            pending.seen = None
        if pending is None:
            self._pending[path] = _Pending(due=now + self._quiet_s, since=now)
        else:
            latest = pending.since + _LONGEST_PUT_OFF * self._quiet_s
            pending.due = max(pending.due, min(now + self._quiet_s, latest))

    def due(self, now: float) -> list[Path]:
        """The files whose quiet time is over, the longest waiting first: look at them."""
        ready = [(one.due, path) for path, one in self._pending.items() if one.due <= now]
        return [path for _, path in sorted(ready)]

    def looked(self, path: Path, size: int, mtime_ns: int, now: float) -> bool:
        """Tell what a look found. True: whole, as far as can be told, and no longer pending."""
        pending = self._pending.setdefault(path, _Pending(due=now, since=now))
        if pending.seen == (size, mtime_ns):
            # A clock's reading is rounded, so that a look exactly in time may seem early.
            if now - pending.seen_at >= self._quiet_s * (1 - 1e-9):
                del self._pending[path]
                return True
            pending.due = pending.seen_at + self._quiet_s
            return False
        pending.seen, pending.seen_at = (size, mtime_ns), now
        pending.since, pending.due = now, now + self._quiet_s
        return False

    def gone(self, path: Path) -> None:
        """The file is no longer there; nothing happens where it was not pending."""
        self._pending.pop(path, None)

    def next_due(self) -> float | None:
        """When the next look is due; None where nothing is pending."""
        return min((one.due for one in self._pending.values()), default=None)
