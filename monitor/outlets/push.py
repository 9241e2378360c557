"""Other ways to people, through Apprise. Only user of apprise, which is an extra."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.config.outlets import ChannelConfig
from monitor.culture import Severity
from monitor.errors import OutletError
from monitor.outlets.wording import clean

if TYPE_CHECKING:
    import apprise

_LONGEST_REASON = 300


def push(
    channel: ChannelConfig, title: str, text: str, *, severity: Severity, timeout_s: float
) -> str:
    """Hand a short message to the service of a channel. Returns the channel's name.

    Raises OutletError; Apprise does not say whether trying again can help, so it is tried again.
    """
    service, url = service_of(channel)
    import apprise

    kind = {
        Severity.NOTICE: apprise.NotifyType.INFO,
        Severity.WARNING: apprise.NotifyType.WARNING,
        Severity.CRITICAL: apprise.NotifyType.FAILURE,
    }[severity]
    result = service.notify(
        body=text,
        title=title,
        notify_type=kind,
        body_format=apprise.NotifyFormat.TEXT,
        timeout=timeout_s,
    )
    if not result:
        reasons = "; ".join(str(entry.message) for entry in result.logs()) or "no reason was given"
        raise OutletError(f"{channel.name}: not taken: {_without_secrets(reasons, url)}")
    return channel.name


def channels_fingerprint(channels: Sequence[ChannelConfig]) -> str:
    """Changes with whatever may cure a refusal: the channels and the files with their URLs."""
    found = []
    for one in channels:
        try:
            file = one.url_file.stat()
        except OSError:
            lies = None
        else:
            lies = [file.st_size, file.st_mtime_ns, file.st_mode]
        found.append([one.name, str(one.url_file), lies])
    text = json.dumps(found).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()


def service_of(channel: ChannelConfig) -> tuple[apprise.Apprise, str]:
    """What Apprise makes of the channel's URL, and that URL. Raises OutletError."""
    try:
        import apprise
    except ModuleNotFoundError as problem:
        raise OutletError(
            f"{channel.name}: Apprise is not installed; pip install 'colonywatch[notify]'",
            setting="outlets.channels",
        ) from problem
    url = _url(channel.url_file)
    service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="colonywatch"))
    if not service.add(url):
        raise OutletError(
            f"{channel.name}: {channel.url_file} has no URL that Apprise knows; see its list of "
            "services",
            setting="outlets.channels",
        )
    return service, url


def _url(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as problem:
        raise OutletError(
            f"{path}: the channel's URL cannot be read "
            f"({getattr(problem, 'strerror', None) or problem}); correct url_file",
            setting="outlets.channels",
        ) from problem
    if len(lines) != 1:
        raise OutletError(
            f"{path}: must contain one URL and nothing else; each channel has its own file",
            setting="outlets.channels",
        )
    return lines[0]


def _without_secrets(text: str, url: str) -> str:
    """What a service answers may quote the address, which holds tokens."""
    for part in sorted({part for part in re.split(r"[/:@?&=]+", url) if len(part) > 5}, key=len):
        text = text.replace(part, "…")
    return clean(text)[:_LONGEST_REASON]
