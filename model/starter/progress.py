"""What a long run says of itself."""

from __future__ import annotations

import sys
import time

from model.train import Progress


def say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def tell(now: Progress) -> None:
    say(f"step {now.step}/{now.steps} loss={now.loss:.4f} {now.elapsed_s:.0f} s")
