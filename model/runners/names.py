"""What people call the runners. Nothing here needs torch."""

from __future__ import annotations

from typing import Final

AUTO: Final = "auto"
"""The fastest on this machine of those that agree with the reference."""
REFERENCE: Final = "torch-float32"
RUNNER_NAMES: Final = (
    AUTO,
    REFERENCE,
    "torch-bfloat16",
    "openvino-float32",
    "openvino-bfloat16",
    "openvino-int8",
)
