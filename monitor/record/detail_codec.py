"""A measurement's detail as bytes: a JSON document, but small.

A record is written once and read seldom, and there are millions of them. What repeats (keys, short
words) is deflated with a dictionary that both sides know; rows of numbers are put side by side with
as many bits as the largest one needs. Every number comes back as it was, to the last bit.

    1 byte   version of this form
    varint   length of the deflated skeleton, then the skeleton
    columns  one after another, in the order in which the skeleton names them

In the skeleton a list stands as a dict with the one key ``""``: ``{"": [...]}`` is a list of
anything, ``{"": n}`` a column of n numbers, ``{"": [keys, values...], "r": n}`` n dicts with the
same keys, ``{"": n, "p": k}`` n lists of k numbers each, as the points of an outline, and
``{"": n, "k": [...]}`` n numbers by their names.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import copysign
from typing import Any

from sqlalchemy import LargeBinary, TypeDecorator
from sqlalchemy.engine import Dialect

VERSION = 1
# What skeletons of version 1 are made of, the most frequent last. Never to be changed: a new
# dictionary is a new version.
_DICTIONARY = (
    b'"stage","sidecar","name","source","well","mtime","pin","laser","mixed","no room for ","'
    b'too thin for tip-100 (needs 180 \\u00b5m across)","too thin","too small","unsure","true,"'
    b'aims":{"":[["label","whole_colony","area_px","polygon","mean_probability","uncertainty",'
    b'"inscribed_radius_px","points","removable_px","covered_px","refused","refused_text"],{""'
    b':[1,2]},{"":[false,false]},{"":[{"":[{"":[["row","column","clearance_px"],{"":14},{"":14'
    b'},{"":14}],"r":14},{"":[]}]},{"":[null,null]}],"r":2}"aims":{"":[{"label":1,"whole_colon'
    b'y":false,"area_px":1200,"polygon":{"":24,"p":2},"mean_probability":0.9,"uncertainty":0.1'
    b',"inscribed_radius_px":30.0,"points":{"":[{"row":300.0,"column":400.0,"clearance_px":60.'
    b'0}]},"removable_px":0.0,"covered_px":0.0,"refused":null,"refused_text":null}]}"regions":'
    b'{"":[["label","area_px","polygon","pick_point","inscribed_radius_px","mean_probability",'
    b'"colony"],{"":4},{"":4},{"":[{"":30,"p":2},{"":24,"p":2}]},{"":4,"p":2},{"":4},{"":4},{"'
    b'":4}],"r":4}"regions":{"":[{"label":1,"area_px":299,"polygon":{"":10,"p":2},"pick_point"'
    b':{"":[188.0,189.0]},"inscribed_radius_px":9.0,"mean_probability":0.69,"colony":null}]}{"'
    b'frames":{"":["field  2048x2048 1 um"]},"number":{"":12},"area":{"":12},"fraction":{"":12'
    b'},"centre":{"":12,"p":2},"frame":{"":12},"cut":{"":12},"missed":{"":12},"came_from":{},"'
    b'gone":{"":[]}}{"shape":{"":[1040,1392]},"colonies":{"":[["label","area_px","differentiat'
    b'ed_px","centroid","bounds"],{"":12},{"":12},{"":12},{"":12,"p":2},{"":12,"p":4}],"r":12}'
    b',"regions":{"":[]},"acquired_at_from":"metadata","pixel_size_from":"metadata","assumed_p'
    b'ixel_size_um":null,"quality":{"":8,"k":["median","range","tilt","clipped_dark","clipped_'
    b'bright","flat","noise","blur_px"]},"doubts":{"":[]},"took_s":0.1,"aims":{"":[]},"aiming"'
    b':{"tool":"tip-100","kind":"tip","removes_um":100.0,"touches_um":120.0,"positional_error_'
    b'um":10.0,"border_um":20.0,"safe_distance_um":30.0},"overlay":"overlays/20260","label_map'
    b'":"labels/'
)
_FEWEST = 3  # numbers; fewer are shorter as text
_WIDEST = 8
_MOST_DECIMALS = 6
_FLOATS = 15  # in the place of decimals: eight bytes each
_EXACT = 2**53
# Numbers that are shifted together: whole bytes for any number of bits. One long row of bits would
# take time that grows with the square of its length.
_TOGETHER = 64
# What numbers are above: the one before, another column; or there is one number only.
_STEPS, _COLUMN, _SAME = 1, 2, 3


class EncodedDetail(TypeDecorator[dict[str, Any]]):
    """A column of JSON documents, each as bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> bytes | None:
        return None if value is None else encode(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> dict[str, Any] | None:
        return None if value is None else decode(value)


def encode(document: dict[str, Any]) -> bytes:
    """document : as JSON has it; tuples come back as lists, and so do keys that are text"""
    columns: list[bytes] = []
    skeleton = _flatten(document, columns)
    text = json.dumps(skeleton, separators=(",", ":"), allow_nan=False).encode()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, _DICTIONARY)
    packed = deflate.compress(text) + deflate.flush()
    return bytes([VERSION]) + _varint(len(packed)) + packed + b"".join(columns)


def decode(content: bytes) -> dict[str, Any]:
    """Raises ValueError where the content is not what `encode` makes."""
    try:
        if content[0] != VERSION:
            raise ValueError(f"form {content[0]} is not known; a newer version wrote it")
        reader = _Reader(content, 1)
        length = reader.varint()
        inflate = zlib.decompressobj(-15, _DICTIONARY)
        skeleton = json.loads(inflate.decompress(reader.take(length)))
        document: dict[str, Any] = _restore(skeleton, reader)
    except (IndexError, KeyError, TypeError, struct.error, zlib.error) as problem:
        raise ValueError(f"an encoded record is damaged: {problem}") from problem
    return document


# --- documents ---------------------------------------------------------------------------------


def _flatten(node: Any, columns: list[bytes]) -> Any:
    if isinstance(node, dict):
        if "" in node:
            raise ValueError("a key must have a name")
        if _is_column(list(node.values())):
            columns.append(_pack_numbers(list(node.values())))
            return {"": len(node), "k": list(node)}
        return {key: _flatten(value, columns) for key, value in node.items()}
    if not isinstance(node, (list, tuple)):
        return node
    if _is_column(node):
        columns.append(_pack_numbers(node))
        return {"": len(node)}
    width = _width(node)
    if width:
        across = list(zip(*node, strict=True))
        if all(_is_column(one) for one in across):
            columns += [
                _pack_numbers(one, across[place - 2] if place >= 2 else None)
                for place, one in enumerate(across)
            ]
            return {"": len(node), "p": width}
    if len(node) > 1 and _are_alike(node):
        keys = list(node[0])
        values = [_flatten([one[key] for one in node], columns) for key in keys]
        return {"": [keys, *values], "r": len(node)}
    return {"": [_flatten(one, columns) for one in node]}


def _restore(node: Any, reader: _Reader) -> Any:
    if not isinstance(node, dict):
        return node
    if "" not in node:
        return {key: _restore(value, reader) for key, value in node.items()}
    held = node[""]
    if isinstance(held, int):
        if "k" in node:
            return dict(zip(node["k"], reader.numbers(held), strict=True))
        if "p" not in node:
            return reader.numbers(held)
        across: list[list[Any]] = []
        for place in range(node["p"]):
            across.append(reader.numbers(held, across[place - 2] if place >= 2 else None))
        return [list(row) for row in zip(*across, strict=True)]
    if "r" not in node:
        return [_restore(one, reader) for one in held]
    keys, *values = held
    lists = [_restore(one, reader) for one in values]
    return [dict(zip(keys, row, strict=True)) for row in zip(*lists, strict=True)]


def _is_column(node: Sequence[Any]) -> bool:
    """Numbers of one kind, enough of them."""
    if len(node) < _FEWEST:
        return False
    kind = type(node[0])
    if kind is int:
        return all(type(one) is int and abs(one) < _EXACT for one in node)
    return kind is float and all(type(one) is float for one in node)


def _width(node: Sequence[Any]) -> int:
    """How many numbers each list has, if there are enough lists of one length; else 0."""
    if len(node) < _FEWEST or not isinstance(node[0], (list, tuple)):
        return 0
    width = len(node[0])
    alike = all(isinstance(one, (list, tuple)) and len(one) == width for one in node)
    return width if alike and 1 < width <= _WIDEST else 0


def _are_alike(node: Sequence[Any]) -> bool:
    return (
        isinstance(node[0], dict)
        and len(node[0]) > 0
        and all(isinstance(one, dict) and list(one) == list(node[0]) for one in node)
    )


# --- columns -----------------------------------------------------------------------------------


def _pack_numbers(values: Sequence[float], before: Sequence[float] | None = None) -> bytes:
    """1 byte: decimals (4 bits), what they are above (2 bits), are they floats (1 bit); 1 byte:
    bits of each; varint: the first, the smallest of the others; then each above the smallest.

    before : a column that these may lie a little above, as the end of a range above its start
    """
    is_float = type(values[0]) is float
    decimals, whole = _as_whole(values) if is_float else (0, [int(one) for one in values])
    if whole is None:
        return bytes([_FLOATS]) + struct.pack(f"<{len(values)}d", *values)
    if min(whole) == max(whole):
        return bytes([decimals | _SAME << 4 | is_float << 6]) + _varint(_folded(whole[0]))
    forms = [_pack_whole(whole)]
    forms.append(_pack_whole([whole[0], *(b - a for a, b in pairwise(whole))]))
    other = None if before is None else _in_unit(before, decimals, is_float=is_float)
    if other is not None:
        forms.append(_pack_whole([one - base for one, base in zip(whole, other, strict=True)]))
    best = min(range(len(forms)), key=lambda form: len(forms[form]))
    return bytes([decimals | best << 4 | is_float << 6]) + forms[best]


def _in_unit(values: Sequence[float], decimals: int, *, is_float: bool) -> list[int] | None:
    """The values in a unit of so many decimals, nearest; None where they are of the other kind."""
    if (type(values[0]) is float) is not is_float:
        return None
    if not is_float:
        return [int(one) for one in values]
    if not all(abs(one) < _EXACT / 10**decimals for one in values):
        return None
    return [round(one * 10**decimals) for one in values]


def _pack_whole(whole: Sequence[int]) -> bytes:
    """The first stands for itself: among steps it is the one that is large."""
    first, rest = whole[0], whole[1:]
    smallest = min(rest)
    bits = (max(rest) - smallest).bit_length()
    body = bytearray()
    for begin in range(0, len(rest), _TOGETHER):
        part = rest[begin : begin + _TOGETHER]
        joined = 0
        for place, value in enumerate(part):
            joined |= (value - smallest) << place * bits
        body += joined.to_bytes(-(-bits * len(part) // 8), "little")
    return bytes([bits]) + _varint(_folded(first)) + _varint(_folded(smallest)) + body


def _as_whole(values: Sequence[float]) -> tuple[int, list[int] | None]:
    """The fewest decimals that give every value exactly, and the values in that unit."""
    for decimals in range(_MOST_DECIMALS + 1):
        scale = 10**decimals
        if not all(abs(one) < _EXACT / scale for one in values):  # also what is not a number
            break
        whole = [round(one * scale) for one in values]
        if all(_same(part / scale, one) for part, one in zip(whole, values, strict=True)):
            return decimals, whole
    return _FLOATS, None


def _same(first: float, second: float) -> bool:
    """To the bit: 0.0 is not -0.0."""
    return first == second and (first != 0 or copysign(1, first) == copysign(1, second))


class _Reader:
    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at

    def take(self, length: int) -> bytes:
        part = self._content[self._at : self._at + length]
        if len(part) != length:
            raise ValueError("it ends too early")
        self._at += length
        return part

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def numbers(self, count: int, before: Sequence[float] | None = None) -> list[Any]:
        (form,) = self.take(1)
        if form == _FLOATS:
            return list(struct.unpack(f"<{count}d", self.take(8 * count)))
        decimals, above, is_float = form & 0xF, form >> 4 & 3, bool(form >> 6 & 1)
        if above == _SAME:
            same = _unfolded(self.varint())
            return [same / 10**decimals if is_float else same] * count
        (bits,) = self.take(1)
        first, smallest = _unfolded(self.varint()), _unfolded(self.varint())
        mask = (1 << bits) - 1
        whole = [first]
        for begin in range(1, count, _TOGETHER):
            number = min(_TOGETHER, count - begin)
            joined = int.from_bytes(self.take(-(-bits * number // 8)), "little")
            whole += [smallest + (joined >> place * bits & mask) for place in range(number)]
        if above == _STEPS:
            whole = list(accumulate(whole))
        elif above == _COLUMN:
            other = None if before is None else _in_unit(before, decimals, is_float=is_float)
            if other is None:
                raise ValueError("a column is missing")
            whole = [one + base for one, base in zip(whole, other, strict=True)]
        return [one / 10**decimals for one in whole] if is_float else whole


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _folded(value: int) -> int:
    """Small numbers of either sign become small ones: 0, -1, 1, -2, ..."""
    return value * 2 if value >= 0 else -value * 2 - 1


def _unfolded(value: int) -> int:
    return -(value + 1) // 2 if value & 1 else value // 2
