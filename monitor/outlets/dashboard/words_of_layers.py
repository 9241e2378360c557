"""What pages call the layers of a scan, and how its grey is shown."""

from __future__ import annotations

from monitor.outlets.viewing.captures import Tone
from monitor.outlets.viewing.layers import Layer

LAYER_WORDS = {
    Layer.CAPTURE: "the capture alone",
    Layer.OUTLINES: "outlines of cells",
    Layer.CLASSES: "classes",
    Layer.DIFFERENTIATED: "probability: differentiated",
    Layer.UNDIFFERENTIATED: "probability: undifferentiated",
    Layer.UNCERTAIN: "where the model is uncertain",
}
TONE_WORDS = {
    Tone.EVEN: "light evened out",
    Tone.PLAIN: "as recorded",
}
