"""How regions are removed: the tool, its care, what is too small or too unsure."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from monitor.config.values import Fraction
from monitor.config.values import Positive as _Positive
from monitor.config.values import Section as _Section
from monitor.culture import Targeting, ToolKind


class TipConfig(_Section):
    """An aspirating tip: removes what lies under its bore, hurts what lies under its wall."""

    kind: Literal["tip"]
    inner_diameter_um: Annotated[float, Field(ge=5, le=10_000)]
    outer_diameter_um: Annotated[float, Field(ge=5, le=10_000)]

    @model_validator(mode="after")
    def _has_a_wall(self) -> Self:
        if self.outer_diameter_um < self.inner_diameter_um:
            raise ValueError(
                f"outer_diameter_um ({self.outer_diameter_um:g}) must be at least "
                f"inner_diameter_um ({self.inner_diameter_um:g})"
            )
        return self

    @property
    def removes_um(self) -> float:
        return self.inner_diameter_um

    @property
    def touches_um(self) -> float:
        return self.outer_diameter_um


class PinConfig(_Section):
    """A scraping pin: removes what it touches."""

    kind: Literal["pin"]
    diameter_um: Annotated[float, Field(ge=5, le=10_000)]

    @property
    def removes_um(self) -> float:
        return self.diameter_um

    @property
    def touches_um(self) -> float:
        return self.diameter_um


class LaserConfig(_Section):
    """A laser spot. halo_um : width of the ring about it that its heat may harm"""

    kind: Literal["laser"]
    diameter_um: Annotated[float, Field(ge=1, le=10_000)]
    halo_um: Annotated[float, Field(ge=0, le=1_000)] = 0.0

    @property
    def removes_um(self) -> float:
        return self.diameter_um

    @property
    def touches_um(self) -> float:
        return self.diameter_um + 2 * self.halo_um


ToolConfig = Annotated[TipConfig | PinConfig | LaserConfig, Field(discriminator="kind")]
_TOOLS: dict[str, TipConfig | PinConfig | LaserConfig] = {
    "tip-100": TipConfig(kind="tip", inner_diameter_um=100.0, outer_diameter_um=120.0)
}


class RemovalConfig(_Section):
    """Which regions are worth removing, with what, how carefully, and who says yes.

    tools, tool : tools by name, and the one that the picker holds
    positional_error_um : how far from its aim the picker may set the tool down, calibration and
        all
    step_um : the picker's smallest step along an axis; hits are laid on whole steps, and kept
        farther from borders for it. None = it is finer than matters
    border_um : how far off the borders of a label map may be
    safe_distance_um : left between what the tool touches and the nearest undifferentiated cell
    max_uncertainty : mean entropy of the class distribution in a region, 0..1
    max_undifferentiated : no hit touches a place where undifferentiated cells are more probable
    earlier_scans : so many scans before must have shown the place of a hit as differentiated;
        0 = none
    trust_first_scan : a dish without earlier scans is taken at its word
    whole_colony_above : colonies of a higher differentiated share go whole; None = never
    max_hits : of one plan; the surest regions come first
    """

    tools: dict[str, ToolConfig] = Field(default_factory=lambda: dict(_TOOLS), min_length=1)
    tool: str | None = None
    positional_error_um: Annotated[float, Field(ge=0, le=2_000)] = 10.0
    step_um: Annotated[float, Field(gt=0, le=1_000)] | None = None
    border_um: Annotated[float, Field(ge=0, le=1_000)] = 20.0
    safe_distance_um: Annotated[float, Field(ge=0, le=5_000)] = 30.0
    min_region_um2: _Positive = 10_000.0
    min_probability: Fraction = Field(default=0.6)
    max_uncertainty: Fraction = Field(default=0.5)
    max_undifferentiated: Fraction = Field(default=0.05)
    earlier_scans: Annotated[int, Field(ge=0, le=10)] = 2
    trust_first_scan: bool = False
    whole_colony_above: Annotated[float, Field(gt=0, lt=1)] | None = Field(default=0.75)
    max_hits: Annotated[int, Field(ge=1, le=5_000)] = 500
    approval: Literal["person", "rule"] = "person"
    expires_h: _Positive = 12.0

    @model_validator(mode="after")
    def _tool_is_known(self) -> Self:
        names = ", ".join(self.tools)
        if self.tool is not None and self.tool not in self.tools:
            raise ValueError(f"tool: there is no tool {self.tool!r}; known: {names}")
        if self.tool is None and len(self.tools) > 1:
            raise ValueError(f"tool: say which of the tools the picker holds: {names}")
        return self

    @property
    def targeting(self) -> Targeting:
        name = self.tool or next(iter(self.tools))
        tool = self.tools[name]
        return Targeting(
            tool=name,
            kind=ToolKind(tool.kind),
            removes_um=tool.removes_um,
            touches_um=tool.touches_um,
            positional_error_um=self.positional_error_um,
            border_um=self.border_um,
            safe_distance_um=self.safe_distance_um,
            step_um=self.step_um or 0.0,
        )
