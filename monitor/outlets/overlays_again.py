"""Overlays that were removed come back when somebody looks at them."""

from __future__ import annotations

import logging
from pathlib import PurePath

from monitor.config import Config
from monitor.host.atomic_files import write_whole
from monitor.record.picture_files import PicturedCapture

log = logging.getLogger(__name__)


def draw_overlay_again(config: Config, one: PicturedCapture) -> bool:
    """Write the overlay of a capture where it was. False where capture or label map are gone, or
    the capture holds other bytes by now.

    Raises OSError where it cannot be written.
    """
    # With it come OpenCV and readers of all formats.
    from monitor.segmentation.drawn_again import FormerOverlay, draw_again

    if one.overlay is None or one.label_map is None:
        return False
    folder = config.record.folder
    for name in (one.overlay, one.label_map):
        if not (folder / name).resolve().is_relative_to(folder.resolve()):
            return False  # no name that we gave
    former = FormerOverlay(
        one.path,
        one.sha256,
        one.label_map,
        one.shape,
        one.taken_at,
        PurePath(one.overlay).parent.name,
        config.settings_of(one.source).channel,
        one.pixel_size_um,
        one.assumed_um,
    )
    content = draw_again(folder, former)
    if content is None:
        return False
    write_whole(folder / one.overlay, content)
    return True


def bring_back(config: Config, one: PicturedCapture | None) -> bool:
    """As `draw_overlay_again`, for a page: False also where it cannot be written."""
    try:
        return one is not None and draw_overlay_again(config, one)
    except OSError as problem:
        log.warning("an overlay is not drawn again: %s", problem)
        return False
