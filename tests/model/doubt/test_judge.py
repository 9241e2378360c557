"""A network with a judge: what is unlike all that it learnt from is in doubt, and says so alike
however it is cut, masked and run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.checkpoint import Model, load_model, save_model
from model.doubt.bank import Bank
from model.doubt.fit import Observed, fit_judge
from model.doubt.judge import ANYTHING, Hardness, Judge, KindFacts
from model.doubt.measured import doubt_table, risk_by_coverage
from model.doubt.reading import MapReading
from model.manifest import MANIFEST, ModelError
from model.pmf_segmenter import PmfSegmenter
from model.segmentation import Doubt, DoubtReason
from tests.model.doubt.judges import (
    bare_model,
    grain,
    judge_and_segmenter,
    observed,
)

JUDGE, SEGMENTER = judge_and_segmenter()
CLEAR = MapReading(0.3, 0.5, 0.0, 0.0)


def test_a_model_without_a_judge_says_nothing_of_doubt() -> None:
    assert PmfSegmenter(bare_model()).segment(grain(0), 2.5).doubt == Doubt()


def test_what_looks_like_what_was_learnt_from_is_of_its_kind() -> None:
    doubts = [SEGMENTER.segment(grain(seed), 2.5).doubt for seed in range(100, 110)]
    familiar = [one for one in doubts if DoubtReason.UNFAMILIAR not in one.reasons]
    assert len(familiar) >= 8
    assert {one.kind for one in familiar} == {"fine grain"}


@pytest.mark.parametrize("coarse", [4, 9, 20])
def test_another_texture_is_unfamiliar_of_no_kind_and_anything_may_be_true(coarse: int) -> None:
    doubt = SEGMENTER.segment(grain(3, coarse), 2.5).doubt
    assert doubt.reasons[0] == DoubtReason.UNFAMILIAR
    assert doubt.in_doubt
    assert (doubt.kind, doubt.calibrated) == (None, False)
    assert doubt.interval in (ANYTHING, None)


def test_a_picture_at_a_wrong_scale_is_unfamiliar() -> None:
    doubt = SEGMENTER.segment(grain(3), 12.0).doubt
    assert DoubtReason.UNFAMILIAR in doubt.reasons


def test_grey_levels_do_not_make_an_image_strange() -> None:
    """Darker, flatter or of 16 bits: it is the same picture once it is normalised."""
    plain = SEGMENTER.look_at(grain(5), 2.5)[0]
    for other in (grain(5) // 2 + 20, grain(5).astype(np.uint16) * 200):
        found = SEGMENTER.look_at(other, 2.5)[0]
        assert plain is not None
        assert found is not None
        assert float(plain @ found) > 0.999


def test_tiles_do_not_show_in_what_is_doubted() -> None:
    image = grain(1, shape=(400, 430))
    whole, read = SEGMENTER.look_at(image, 2.5)
    tiled, tiled_read = PmfSegmenter(bare_model(), tile_px=128).look_at(image, 2.5)
    np.testing.assert_allclose(tiled, whole, atol=2e-6)
    assert tiled_read.fraction == read.fraction
    assert tiled_read.entropy == pytest.approx(read.entropy, abs=1e-5)


def test_two_threads_doubt_as_one_does() -> None:
    image = grain(1, shape=(300, 330))
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(SEGMENTER.segment(image, 2.5).doubt)
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_what_lies_outside_the_vessel_does_not_count() -> None:
    image, inside = grain(2, shape=(320, 320)), np.ones((320, 320), dtype=bool)
    inside[:, 160:] = False
    spoilt = image.copy()
    spoilt[:, 160:] = grain(2, 20, (320, 320))[:, 160:]
    plain, other = (SEGMENTER.look_at(one, 2.5, inside)[0] for one in (image, spoilt))
    assert plain is not None
    assert other is not None
    assert float(plain @ other) > 0.99999


def test_an_image_of_which_nothing_lies_inside_has_no_features() -> None:
    image = grain(2)
    assert SEGMENTER.look_at(image, 2.5, np.zeros(image.shape, dtype=bool))[0] is None
    assert SEGMENTER.segment(image, 2.5, inside=np.zeros(image.shape, dtype=bool)).doubt == Doubt()


def known_vector() -> np.ndarray:
    return np.asarray(JUDGE.bank.families[0].vectors[0], dtype=np.float32)


def judged(read: MapReading, **facts: object) -> Doubt:
    kind = KindFacts("fine grain", 12, 2.0, calibrated=True)
    bank = Bank([replace(JUDGE.bank.families[0], mixture=0.1, entropy=0.5)])
    judge = Judge(bank, (replace(kind, **facts),), Hardness(0.01, 1.0, 0.0))
    return judge.doubt_of(known_vector(), read)


def test_the_harder_an_image_looks_the_wider_its_interval() -> None:
    easy, hard = (judged(replace(CLEAR, mixture=one)).interval for one in (0.0, 0.05))
    assert easy == pytest.approx((0.28, 0.32))
    assert hard == pytest.approx((0.18, 0.42))


@pytest.mark.parametrize("read", [replace(CLEAR, mixture=0.11), replace(CLEAR, entropy=0.51)])
def test_what_is_not_read_clearly_is_in_doubt_and_keeps_its_kind(read: MapReading) -> None:
    doubt = judged(read)
    assert doubt.reasons == (DoubtReason.UNCLEAR,)
    assert doubt.kind == "fine grain"
    assert doubt.interval != ANYTHING


def test_where_no_cells_were_found_there_is_no_interval() -> None:
    assert judged(MapReading(None, 0.0, 0.0, 0.0)).interval is None


def test_a_kind_of_which_nothing_finite_is_known_may_be_anything() -> None:
    doubt = judged(CLEAR, factor=None, calibrated=False)
    assert (doubt.interval, doubt.in_doubt) == (ANYTHING, False)


# ---------------------------------------------------------------------------------- making it


def test_the_same_observations_give_the_same_judge() -> None:
    again = fit_judge(observed(PmfSegmenter(bare_model())), "drawn")
    assert (again.kinds, again.hardness) == (JUDGE.kinds, JUDGE.hardness)
    np.testing.assert_array_equal(again.bank.families[0].vectors, JUDGE.bank.families[0].vectors)


def spread(seen: list[Observed]) -> list[Observed]:
    """The same with truths that differ from dish to dish, a little off what was found."""
    reads = [replace(one.read, fraction=place / len(seen)) for place, one in enumerate(seen)]
    return [
        replace(one, family="real", read=read, truth=(read.fraction or 0) + 0.001)
        for one, read in zip(seen, reads, strict=True)
    ]


def kind_of(seen: list[Observed]) -> KindFacts:
    return fit_judge(seen, "drawn").kinds[0]


def test_a_kind_is_calibrated_on_nine_dishes_and_more() -> None:
    seen = spread(observed(PmfSegmenter(bare_model())))
    assert kind_of(seen).calibrated
    few = [one for one in seen if one.learnt or int(one.group.split()[1]) < 24 + 8]
    assert not kind_of(few).calibrated
    assert kind_of(few).factor is None


def test_drawn_images_calibrate_no_microscope() -> None:
    """What a microscope took that looks like them was not drawn from them."""
    seen = [replace(one, family="drawn") for one in spread(observed(PmfSegmenter(bare_model())))]
    assert not kind_of(seen).calibrated
    assert kind_of(seen).factor is not None


def test_healthy_dishes_alone_calibrate_nothing() -> None:
    """They do not tell how far off the fraction is of a dish that differentiates."""
    seen = [replace(one, family="real", truth=0.0) for one in observed(PmfSegmenter(bare_model()))]
    assert not kind_of(seen).calibrated


def test_what_was_only_measured_says_how_good_the_judge_is() -> None:
    seen = observed(PmfSegmenter(bare_model()))
    vector, read = SEGMENTER.look_at(grain(3, 9), 2.5)
    assert vector is not None
    far = replace(read, fraction=0.9)
    foreign = Observed("other", "coarse grain", "dish", False, vector, far, 0.1)
    held = [*(one for one in seen if not one.learnt), foreign]
    table = doubt_table(JUDGE, held)
    assert table["coarse grain"]["wrong_in_doubt"] == 1.0
    assert table["all"]["fields"] == len(held)
    assert table["fine grain"]["groups"] == len(held) - 1
    curve = risk_by_coverage(JUDGE, held)
    assert curve[-1][0] == 1.0
    assert curve[-2][1] < curve[-1][1]


# ----------------------------------------------------------------------------------- on disk


def test_a_judge_goes_with_its_model(tmp_path) -> None:
    model = bare_model()
    manifest = save_model(tmp_path / "m", Model(model.network, model.manifest, JUDGE), "")
    loaded = load_model(tmp_path / "m")
    assert loaded.manifest.sha256 == manifest.sha256
    image = grain(101)
    assert PmfSegmenter(loaded).segment(image, 2.5).doubt == SEGMENTER.segment(image, 2.5).doubt


def test_a_judge_is_part_of_what_a_model_is(tmp_path) -> None:
    """Two models that doubt differently must not pass for one in the record."""
    model = bare_model()
    plain = save_model(tmp_path / "plain", model, "")
    assert plain.doubt is None
    with_judge = save_model(tmp_path / "m", Model(model.network, model.manifest, JUDGE), "")
    other = Judge(JUDGE.bank, JUDGE.kinds, replace(JUDGE.hardness, base=0.5))
    others = save_model(tmp_path / "o", Model(model.network, model.manifest, other), "")
    assert len({plain.sha256, with_judge.sha256, others.sha256}) == 3


def test_a_model_saved_without_its_judge_has_none_left(tmp_path) -> None:
    model = bare_model()
    save_model(tmp_path / "m", Model(model.network, model.manifest, JUDGE), "")
    loaded = load_model(tmp_path / "m")
    save_model(tmp_path / "m", Model(loaded.network, loaded.manifest), "")
    assert load_model(tmp_path / "m").judge is None
    assert not (tmp_path / "m" / "doubt.safetensors").exists()


@pytest.mark.parametrize("spoil", ["missing", "changed", "cut"])
def test_a_spoilt_file_of_the_judge_is_refused(spoil: str, tmp_path) -> None:
    model = bare_model()
    save_model(tmp_path / "m", Model(model.network, model.manifest, JUDGE), "")
    path = tmp_path / "m" / "doubt.safetensors"
    content = path.read_bytes()
    path.unlink()
    if spoil != "missing":
        path.write_bytes(content[:-1] + b"\x07" if spoil == "changed" else content[:-100])
    with pytest.raises(ModelError, match=r"doubt\.safetensors.*copy the model folder again"):
        load_model(tmp_path / "m")


def test_limits_that_were_changed_by_hand_are_refused(tmp_path) -> None:
    model = bare_model()
    save_model(tmp_path / "m", Model(model.network, model.manifest, JUDGE), "")
    path = tmp_path / "m" / MANIFEST
    path.write_text(path.read_text().replace('"neighbours": 3', '"neighbours": 2'))
    with pytest.raises(ModelError, match="its settings do not match its own hash"):
        load_model(tmp_path / "m")
