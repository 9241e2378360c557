"""A small judge, made from what an untrained network sees of two textures."""

from __future__ import annotations

import numpy as np
import torch

from model.checkpoint import Manifest, Model
from model.doubt.fit import Observed, fit_judge
from model.doubt.judge import Judge
from model.network import PmfCNN, PmfCNNConfig
from model.pmf_segmenter import PmfSegmenter

SMALL = PmfCNNConfig(widths=(4, 6, 8), context_channels=8, voting_grids=(4, 8))


def network() -> PmfCNN:
    torch.manual_seed(0)
    made = PmfCNN(SMALL).train()
    for _ in range(3):
        made(torch.randn(2, 1, 96, 96))
    return made.eval()


def bare_model() -> Model:
    return Model(network(), Manifest("small", SMALL, 2.5, temperature=0.7))


def grain(seed: int, coarse: int = 1, shape: tuple[int, int] = (160, 176)) -> np.ndarray:
    """Noise of a grain so coarse, in grey levels."""
    chance = np.random.default_rng([seed, coarse])
    small = chance.normal(0, 1, tuple(-(-length // coarse) for length in shape))
    wide = np.repeat(np.repeat(small, coarse, axis=0), coarse, axis=1)[: shape[0], : shape[1]]
    return np.clip(120 + 20 * wide, 0, 255).astype(np.uint8)


def observed(segmenter: PmfSegmenter, count: int = 24) -> list[Observed]:
    """Fine grain, half of it learnt from; what is found is held against a truth near it."""
    found = []
    for seed in range(2 * count):
        vector, read = segmenter.look_at(grain(seed), 2.5)
        assert vector is not None
        truth = min(1.0, max(0.0, (read.fraction or 0.0) + 0.02 * (seed % 5 - 2)))
        found.append(
            Observed("drawn", "fine grain", f"dish {seed}", seed < count, vector, read, truth)
        )
    return found


def judge_and_segmenter() -> tuple[Judge, PmfSegmenter]:
    model = bare_model()
    judge = fit_judge(observed(PmfSegmenter(model)), "drawn")
    return judge, PmfSegmenter(Model(model.network, model.manifest, judge))
