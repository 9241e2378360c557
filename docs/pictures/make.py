"""The readme's pictures, from a demo's folder: python docs/pictures/make.py demo

Overlays and plot are what the program wrote; the mail is opened in Chromium, where there is one.
"""

from __future__ import annotations

import base64
import email
import email.policy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

HERE = Path(__file__).parent
TURNED = "dish-01"
SHOWN = (3, 9, 11, 14)
SIDE_PX = 480


def main() -> None:
    demo = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    overlays = sorted((demo / "state" / "overlays" / TURNED).glob("*.jpg"))
    height = None
    pictures = []
    for path in (overlays[number] for number in SHOWN):
        picture = cv2.imread(str(path))
        scale = SIDE_PX / picture.shape[1]
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height = height or picture.shape[0]
        pictures.append(picture[:height])
    cv2.imwrite(
        str(HERE / "overlays.jpg"), np.hstack(pictures), [int(cv2.IMWRITE_JPEG_QUALITY), 82]
    )
    shutil.copy(demo / "plots" / f"{TURNED}.png", HERE / "series.png")
    browser = shutil.which("chromium")
    if browser:
        _photograph(min((demo / "mailbox").glob("*.eml")), browser)


def _photograph(mail: Path, browser: str) -> None:
    message = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default)
    html, parts = "", {}
    for part in message.walk():
        if part.get_content_type() == "text/html":
            html = part.get_content()
        elif part["content-id"]:
            data = base64.b64encode(part.get_payload(decode=True)).decode()
            parts[part["content-id"].strip("<>")] = f"data:{part.get_content_type()};base64,{data}"
    for name, data in parts.items():
        html = html.replace(f"cid:{name}", data)
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "mail.html", Path(folder) / "mail.png"
        page.write_text(html, encoding="utf-8")
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-background-networking",
                f"--user-data-dir={folder}/profile",
                "--window-size=640,1120",
                f"--screenshot={shot}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
        )
        picture = cv2.imread(str(shot))
        cv2.imwrite(str(HERE / "mail.jpg"), picture, [int(cv2.IMWRITE_JPEG_QUALITY), 85])


if __name__ == "__main__":
    main()
