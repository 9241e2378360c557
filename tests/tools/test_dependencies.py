from __future__ import annotations

import pytest

from tools.dependencies import LOCK, PINS, Locked, lock_in, pins_in, problems

HASH = "a" * 64
GOOD = {
    "installed": {"numpy": "2.0", "torch": "2.13.0+cpu", "pytest": "8.0"},
    "for_users": ["numpy", "torch", "nvidia-cublas"],
    "pins": {"numpy": "2.0", "torch": "2.13.0", "pytest": "8.0"},
    "lock": {"numpy": Locked("2.0", 3)},
}


def test_what_was_looked_at_is_no_problem():
    """torch from a local file bears a name of its own behind the version."""
    assert problems(**GOOD) == []


WRONG = {
    "another version": ({"installed": {"numpy": "2.1"}}, "numpy is installed as 2.1, pinned as 2"),
    "not pinned": ({"installed": {"six": "1"}}, "six 1 has no version in constraints.txt"),
    "not locked": ({"for_users": ["pytest"]}, "pytest is not in requirements.lock"),
    "no hashes": ({"lock": {"numpy": Locked("2.0")}}, "numpy: requirements.lock names no file"),
    "two versions": ({"lock": {"numpy": Locked("1.9", 1)}}, "numpy is 1.9 in requirements.lock"),
}


@pytest.mark.parametrize(("changes", "says"), WRONG.values(), ids=list(WRONG))
def test_what_is_otherwise_is_told(changes, says):
    found = problems(**{**GOOD, **changes})
    assert any(sentence.startswith(says) for sentence in found), found


def test_a_version_that_is_no_single_one_is_refused():
    for line in ("numpy", "numpy>=2", "numpy==2.*"):
        with pytest.raises(ValueError, match="numpy"):
            pins_in(line)


def test_the_lock_is_read_with_its_hashes_and_conditions():
    text = (
        f"# made by uv\nSix==1.17.0 ; python_version < '3.12' \\\n    --hash=sha256:{HASH} \\\n"
        f"    --hash=sha256:{HASH}\nnumpy==2.0\n"
    )
    assert lock_in(text) == {"six": Locked("1.17.0", 2), "numpy": Locked("2.0", 0)}


def test_the_lock_and_the_pins_that_lie_here_agree():
    lock = lock_in(LOCK.read_text(encoding="utf-8"))
    assert problems({}, [], pins_in(PINS.read_text(encoding="utf-8")), lock) == []
    assert len(lock) > 30
