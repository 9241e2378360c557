"""One thing done while another is: in a thread that stays, since a new one costs a small capture
as much as its label map does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="beside")


@contextmanager
def done_beside(
    call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> Iterator[Future[_T]]:
    """Do something beside what stands in the block; at the block's end it is done, or has raised.

    Returns what becomes of it.
    """
    future = _thread().submit(call, *args, **kwargs)
    try:
        yield future
    finally:
        wait([future])
