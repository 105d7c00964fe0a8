"""One model per worker process, shared by all of its threads.

Beam tears idle DoFns down and makes new ones; a model that takes seconds to load and compile is kept
for as long as the process lives.
"""

import threading

from l3core.embedding import Embedder
from l3core.errors import RunError
from l3core.spec import EmbeddingSpec
from l3core.storage import read_bytes
from l3core.weights import Weights, read_h5
from pipelines.job import EmbedJob

_lock = threading.Lock()
_loaded: dict[str, Embedder] = {}


def embedder_for(job: EmbedJob) -> Embedder:
    """The embedder of a job; the first caller in a process loads it.

    Raises:
        RunError: the table's copy of the weights is not what the job was planned with.
    """
    with _lock:
        if job.fingerprint not in _loaded:
            _loaded.clear()  # a process serves one spec at a time
            _loaded[job.fingerprint] = _load(job)
        return _loaded[job.fingerprint]


def _load(job: EmbedJob) -> Embedder:
    spec = EmbeddingSpec(**job.spec)
    content = read_bytes(job.weights)
    weights = Weights(read_h5(content, spec.network.layer_shapes(spec), name=job.weights), job.weights)
    embedder = Embedder(spec, weights=weights)
    if embedder.fingerprint != job.fingerprint:
        raise RunError(
            f"this worker computes {embedder.fingerprint}, the job was planned as {job.fingerprint}: "
            "weights or library versions differ between launcher and worker"
        )
    return embedder
