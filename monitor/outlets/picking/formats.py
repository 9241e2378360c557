"""The formats by name: how their files end, and who writes them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

from monitor.config import EXPORT_FORMATS, ExportFormat
from monitor.errors import OutletError
from monitor.outlets.picking.handout import Contents, Handout, Joined, Writer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """suffix : how its files end; after the part that tells captures apart, where there is one

    writer, plate : ``module:function`` beside this module. Found by name when they are asked for,
        so that nothing loads writers that it does not need
    """

    suffix: str
    writer: str
    plate: str | None = None

    def write(self, handout: Handout) -> Contents:
        """Its files. Raises OutletError where it cannot say what the plan says."""
        writer: Writer = resolve_name(f"{__package__}.{self.writer}")
        return writer(handout)

    def join(self, handouts: Sequence[Handout]) -> bytes | None:
        """One file of all plans of a plate; None where the format has no such file."""
        if self.plate is None:
            return None
        joined: Joined = resolve_name(f"{__package__}.{self.plate}")
        return joined(handouts)


FORMATS: dict[ExportFormat, Format] = {
    name: Format(row.suffix, row.writer, row.plate) for name, row in EXPORT_FORMATS.items()
}


@dataclass(frozen=True)
class Written:
    """contents : how each file's name goes on after the stem -> its content, in the order of
        writing
    unwritten : why a format cannot say what the plan says, by its name
    """

    contents: dict[str, bytes]
    unwritten: dict[str, str]


def write_formats(handout: Handout, formats: Sequence[ExportFormat]) -> dict[str, bytes]:
    """As `write_what_can_be`. Raises OutletError where a format cannot say what the plan says."""
    written = write_what_can_be(handout, formats)
    for why in written.unwritten.values():
        raise OutletError(why, permanent=True)
    return written.contents


def write_what_can_be(handout: Handout, formats: Sequence[ExportFormat]) -> Written:
    """The files of a plan. A format that cannot be written takes no other down."""
    written = Written({}, {})
    for name, known in FORMATS.items():
        if name not in formats:
            continue
        try:
            contents = known.write(handout)
        except OutletError as problem:
            written.unwritten[name] = str(problem)
        except Exception as problem:
            log.exception("plan=%s: unexpected error in writing %s", handout.plan.id, name)
            written.unwritten[name] = f"unexpected error in colonywatch: {problem!r}; see the log"
        else:
            for part, content in contents.items():
                written.contents[(f".{part}" if part else "") + known.suffix] = content
    return written
