from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.record.detail_codec import decode, encode

NUMBERS = st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
SHORT = st.decimals(-10_000, 10_000, places=2).map(float)
COLUMNS = (
    st.lists(st.integers(0, 5_000), max_size=40)
    | st.lists(SHORT, max_size=40)
    | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=10)
    | st.lists(st.tuples(SHORT, SHORT).map(list), max_size=20)
    | st.lists(st.lists(st.integers(0, 3_000), min_size=4, max_size=4), max_size=20)
)
NAMES = st.text(min_size=1, max_size=12)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=20) | COLUMNS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


def exactly(first, second):
    """Equal as JSON, with whole numbers and 1.0 told apart and zeros by their sign."""
    return json.dumps(first) == json.dumps(second)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, DOCUMENTS, max_size=6))
def test_every_document_comes_back_to_the_last_bit(document):
    """What was recorded of a dish must never change by being stored."""
    assert exactly(decode(encode(document)), json.loads(json.dumps(document)))


CASES = {
    "empty": {},
    "no colonies": {"colonies": [], "shape": [3, 4]},
    "one number": {"x": [1]},
    "whole and broken numbers": {"x": [1, 1.0, 2]},
    "zeros of both signs": {"x": [0.0, -0.0, 0.0], "y": [-0.0] * 5},
    "very large": {"x": [2**53, 2**53 + 1, 2**70], "y": [1e300, 1.0, 2.0]},
    "very small": {"x": [5e-324, 1e-9, 0.1]},
    "many places": {"x": [0.1 + 0.2, 1 / 3, math.pi]},
    "seven places": {"x": [1e-7, 2e-7, 3e-7]},
    "truths are no numbers": {"x": [True, False, True], "y": [1, True, 0]},
    "points": {"x": [[1.5, 2.5], [3.0, 4.0], [1.0, -7.5]]},
    "points of mixed kinds": {"x": [[1.5, 2], [3.0, 4], [1.0, -7]]},
    "ranges": {"x": [[10, 20, 30, 40], [11, 22, 300, 41], [1, 2, 3, 4]]},
    "ranges of mixed lengths": {"x": [[1, 2, 3], [1, 2], [1, 2, 3, 4]]},
    "alike": {"x": [{"a": 1, "b": "c"}, {"a": 2, "b": "d"}]},
    "alike but in another order": {"x": [{"a": 1, "b": 2}, {"b": 1, "a": 2}]},
    "not alike": {"x": [{"a": 1}, {"b": 2}, {}]},
    "nothing in them": {"x": [{}, {}, {}]},
    "nothing": {"x": None, "y": [None, None, None]},
    "text": {"x": 'µm \x00 \\ " 皿', "y": ["a", "b", "c"]},
}


@pytest.mark.parametrize("document", CASES.values(), ids=CASES)
def test_odd_documents_come_back_too(document):
    assert exactly(decode(encode(document)), document)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value):
    """It would come back as something that no other program can read."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"x": value})
    assert math.isnan(decode(encode({"x": [math.nan, 1.0, 2.0]}))["x"][0])


def test_a_measurement_takes_a_sixth_of_its_json():
    detail = {
        "shape": [1040, 1392],
        "colonies": [
            {
                "label": number,
                "area_px": 20_000 - 791 * number,
                "differentiated_px": 0,
                "centroid": [61.3 * number, 700.4 - 41.7 * number],
                "bounds": [50 * number, 600 - 30 * number, 50 * number + 99, 700 - 30 * number],
            }
            for number in range(1, 13)
        ],
        "regions": [],
        "quality": {"median": 95.0, "range": 113.0, "tilt": 0.0442, "noise": 2.9652},
    }
    assert len(encode(detail)) < len(json.dumps(detail)) / 6


@pytest.mark.parametrize("length", [0, 1, 2, 5, 20, -1])
def test_half_a_record_is_refused(length):
    whole = encode({"colonies": [[1.0, 2.0], [3.0, 4.5], [9.0, 9.0]], "name": "x"})
    with pytest.raises(ValueError, match=r"damaged|ends too early|Expecting"):
        decode(whole[:length])


def test_a_record_of_a_newer_form_is_refused():
    with pytest.raises(ValueError, match="form 9 is not known"):
        decode(b"\x09abc")


def test_records_of_the_first_form_can_always_be_read():
    """They lie in databases; a change of the dictionary or of the form must be a new version."""
    document = decode(bytes.fromhex(FIRST))
    assert document == FIRST_SAYS


FIRST_SAYS = {
    "shape": [1040, 1392],
    "colonies": [
        {"label": 1, "centroid": [40.5, 60.2], "bounds": [30, 50, 52, 71]},
        {"label": 2, "centroid": [140.5, 6.2], "bounds": [130, 0, 152, 13]},
        {"label": 3, "centroid": [240.0, 99.9], "bounds": [230, 90, 252, 101]},
    ],
    "doubts": [],
    "took_s": 0.125,
    "overlay": "overlays/a.jpg",
}
FIRST = (
    "012123278de14a45c69064628c9c668c51928c3181f03532c5eafe44bdac8274a55a00100002025103aa"
    "06c60f05410ab4097c00a40e10003cc80100076400002d20002c2c20022a1602"
)
