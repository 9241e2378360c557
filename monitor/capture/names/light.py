"""With which light a channel was taken, by what its instrument calls it.

The model was taught cells in transmitted light. Fluorescence shows other things, and a number made
of it is wrong however sharp the picture is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache


class Light(StrEnum):
    """transmitted : brightfield, phase contrast, DIC and their kin"""

    TRANSMITTED = "transmitted"
    FLUORESCENCE = "fluorescence"


# Matched against the words of a name in small letters, with one space between them: "TL 50" is
# "tl 50", "PhaseContrast" is "phase contrast", "Cy5" is "cy 5".
_TRANSMITTED = re.compile(
    r"\b(?:bright ?field|bf|(?<!\bs )phase|phasecontrast|phaco|phasenkontrast|ph|phc|dpc|dic"
    r"|nomarski|trans|transmi\w+|transillumination|tl|td(?! tomato)|t ?pmt|hoffman\w*|hmc|dia"
    r"|diascopic|varel|plasdic|esid|oblique|durchlicht|hellfeld)\b"
)
_FLUORESCENT = re.compile(
    r"fluor|dapi|hoechst|fitc|tritc|alexa|rhodamine|texas|mcherry|m cherry|tomato|dsred|ds red"
    r"|cerulean|mturquoise|mkate|mscarlet|m scarlet|mneon|gcamp|calcein|propidium|sytox"
    r"|phalloidin|mito ?tracker|lyso ?tracker|draq|dylight|lumencor|spectrin"
    r"|\b(?:[a-z]{0,2}[bcegrtwy]fp|tx ?red|cy ?[2357]|venus|citrine|fluo|rhod|syto|atto|af ?\d{3}"
    r"|epi|fl|uv|nir|near ?ir|far ?red|green|red|blue|orange|yellow|cyan|violet|crimson|magenta"
    r"|laser|tirf|csu\w*|nipkow\w*|confocal|two ?photon|2 ?photon)\b"
    r"|^(?:(?:af|cf|ex|em|led|ch|channel|atto|csu|sola) ?)?"
    r"(?:405|408|440|44[57]|458|473|47[056]|488|49[01]|514|515|532|543|546|55[0259]|56[1058]"
    r"|594|63[0358]|64[027]|660|685|730|750)(?: ?nm)?$"
    r"|^pi$"
)


@lru_cache(maxsize=4096)
def light_of(name: str | None) -> Light | None:
    """What an instrument's or a person's name of a channel says of its light; None: nothing.

    A name that has both is of transmitted light, seen through a filter for fluorescence.
    """
    words = _words(name or "")
    if _TRANSMITTED.search(words):
        return Light.TRANSMITTED
    return Light.FLUORESCENCE if _FLUORESCENT.search(words) else None


@dataclass(frozen=True)
class Channel:
    """What is known of a channel. name : as its instrument calls it; empty where it does not"""

    name: str = ""
    light: Light | None = None


NO_CHANNEL = Channel()


def channel_called(name: str | None) -> Channel:
    """One of which only its name is known."""
    return Channel((name or "").strip(), light_of(name))


def channels_called(names: Sequence[str]) -> list[Channel]:
    """As `channel_called`, for the channels of one file. Red, green and blue together are a colour
    picture in three planes, which says nothing of its light.
    """
    if {"red", "green", "blue"} == {name.strip().lower() for name in names}:
        return [Channel(name.strip()) for name in names]
    return [channel_called(name) for name in names]


def best_channel(channels: Sequence[Channel]) -> int:
    """Number from 0 of the one to look at: transmitted light first, then what nothing is known of,
    the first of several. Of fluorescence alone: the first, and who asks has to leave it out.
    """
    ranks = {Light.TRANSMITTED: 0, None: 1, Light.FLUORESCENCE: 2}
    return min(range(len(channels)), key=lambda index: (ranks[channels[index].light], index))


def _words(name: str) -> str:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " ", name)
    return " ".join(re.findall(r"\w+", apart.replace("_", " ").lower()))
