"""A short, always equal part of what `python -m tools.soak.fuzz` does for minutes."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import Phase, given, settings

from tools.soak.fuzz import STARTS, damaged, every_format, judge_name, judge_picture, likely_names

for library in ("czifile", "liffile", "nd2", "zarr"):
    pytest.importorskip(library)

# The same examples at each run: what is new is looked for by the soak.
ALWAYS_EQUAL = settings(
    derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
)
FILES = every_format()


def test_every_file_is_valid_before_it_is_damaged():
    assert {name: judge_picture(name, data) for name, data in FILES.items()} == dict.fromkeys(
        FILES, "picture"
    )


@given(damaged(FILES))
@settings(ALWAYS_EQUAL, max_examples=300)
def test_damaged_files_of_every_format_are_pictures_or_refused_with_a_reason(one):
    judge_picture(*one)


@given(likely_names(), STARTS)
@settings(ALWAYS_EQUAL, max_examples=300)
def test_names_that_nearly_fit_say_a_dish_or_are_refused_with_a_reason(
    name: str, start: datetime | None
):
    judge_name(name, start)
