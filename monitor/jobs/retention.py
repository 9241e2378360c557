"""Old pictures leave the record's folder: overlays, label maps, tiles; readings never."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.config import Config
from monitor.config.record import KeepConfig
from monitor.decisions.keeping import PictureFile, PictureKind, pictures_to_remove
from monitor.host.atomic_files import HIDDEN_SUFFIX

log = logging.getLogger(__name__)

GIB = 2**30
# Temporary files of a program that was killed.
_LEFT_BEHIND = timedelta(days=1)


def pictures_in(folder: Path) -> Iterator[PictureFile]:
    """Every overlay, label map and tile in a record's folder. What goes away meanwhile is left."""
    for kind in PictureKind:
        for path, about in _files_below(folder / kind):
            if not path.name.startswith("."):
                yield PictureFile(
                    name=str(path.relative_to(folder)),
                    kind=kind,
                    dish=path.parent.name,
                    written_at=datetime.fromtimestamp(about.st_mtime, UTC),
                    size=about.st_size,
                )


def thin_pictures(config: Config, now: datetime) -> tuple[int, int]:
    """Remove what `record.keep` says. Returns how many files, and how many bytes they had."""
    return thin(config.record.folder, config.record.keep, now)


def thin(folder: Path, keep: KeepConfig, now: datetime) -> tuple[int, int]:
    """As `thin_pictures`, of any folder that holds what a record's folder does."""
    count = size = 0
    for one in pictures_to_remove(pictures_in(folder), keep, now):
        path = folder / one.name
        try:
            # Drawn again since it was looked at: somebody wants it.
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) > one.written_at:
                continue
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as problem:
            log.error("%s: cannot be removed (%s)", path, problem.strerror)
            return count, size
        count, size = count + 1, size + one.size
        if one.kind is PictureKind.TILE:
            with suppress(OSError):
                path.parent.rmdir()
    _remove_left_behind(folder, now)
    if count:
        log.info("removed %d old pictures, %.2f GiB (record.keep)", count, size / GIB)
    return count, size


def _remove_left_behind(folder: Path, now: datetime) -> None:
    for kind in PictureKind:
        for path, about in _files_below(folder / kind):
            age = now - datetime.fromtimestamp(about.st_mtime, UTC)
            if path.name.startswith(".") and path.suffix == HIDDEN_SUFFIX and age > _LEFT_BEHIND:
                with suppress(OSError):
                    path.unlink()


def _files_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Links are not followed: what they point at is not ours."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield from _files_below(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path), entry.stat(follow_symlinks=False)
