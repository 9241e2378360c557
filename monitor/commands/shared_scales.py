"""One scale for images that were taken alike and given together, without a record of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from model.setups import Setup
from monitor.culture import AtScale, ScaleEvidence, ScaleInUse
from monitor.culture.scales import OF_A_SCALE


@dataclass
class _Shared:
    """um : um/px by the images so far

    read_at : um/px that each image was read at
    """

    setup: Setup
    um: float
    evidence: list[ScaleEvidence] = field(default_factory=list)
    read_at: dict[Path, float] = field(default_factory=dict)


class SharedScales:
    """What images say of their scale, one after the other."""

    def __init__(self) -> None:
        self._shared: list[_Shared] = []

    def for_image(self, image: Path) -> tuple[ScaleInUse, ...]:
        """The scales so far; an image that comes again moves them no more."""
        return tuple(
            ScaleInUse(
                one.setup.magnification,
                one.setup.shape,
                one.um,
                tuple(one.evidence)
                if image not in one.read_at and len(one.evidence) < OF_A_SCALE
                else None,
            )
            for one in self._shared
        )

    def note(self, image: Path, shape: tuple[int, int], um: float, said: AtScale) -> None:
        """An image was read at this many um/px, since it does not say its own."""
        setup = Setup(said.magnification, shape)
        found = next((one for one in self._shared if setup.is_like(one.setup)), None)
        if found is None:
            found = _Shared(setup, um)
            self._shared.append(found)
        if said.evidence is not None:
            found.um = um
            found.evidence.append(said.evidence)
        found.read_at[image] = um

    def is_outdated(self, image: Path) -> bool:
        """Whether images after it have moved the scale that it was read at."""
        return any(one.read_at.get(image, one.um) != one.um for one in self._shared)

    def images_of(self, image: Path) -> int | None:
        """How many images its scale rests on; None where it has one of its own."""
        return next((len(one.evidence) for one in self._shared if image in one.read_at), None)
