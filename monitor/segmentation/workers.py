"""Where captures are measured, as the configuration says: a process beside us, or a cluster."""

from __future__ import annotations

from pathlib import Path

from model.manifest import ModelError, read_json
from model.predict import STARTER, summary_of
from monitor.config import Config
from monitor.errors import ModelRefusedError
from monitor.segmentation.cluster import ClusterWorker
from monitor.segmentation.worker import SegmentationWorker

AnyWorker = SegmentationWorker | ClusterWorker


def worker_for(config: Config) -> AnyWorker:
    """Not begun yet. Raises ModelRefusedError where the hash of a cluster's model is not known."""
    model, compute = config.segmentation.model, config.compute
    if compute.engine == "local":
        return SegmentationWorker(model, compute.threads, compute.runner)
    assert compute.scheduler is not None
    return ClusterWorker(
        compute.scheduler, model, _sha256_of(model), compute.captures, compute.runner
    )


def _sha256_of(model: str) -> str:
    """As the manifest says it: no program beside the workers loads the network for that."""
    folder = STARTER if model == "starter" else Path(model)
    try:
        said = read_json(folder).get("sha256")
        return said if isinstance(said, str) else summary_of(folder).sha256
    except ModelError as problem:
        raise ModelRefusedError(str(problem)) from problem
