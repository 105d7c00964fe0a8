"""Plain functions that turn recordings into embeddings and tables; no Beam, no command line.

    from l3core import EmbeddingSpec, Embedder, get_audio_embedding, read_windows

The names are loaded when they are first used, so that importing a part does not load all of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l3core.embedding import Embedder, Embedding
    from l3core.openl3_api import get_audio_embedding
    from l3core.spec import EmbeddingSpec
    from l3core.table.read import read_windows
    from l3core.table.scan import iter_windows

_HOMES = {
    "Embedder": "l3core.embedding",
    "Embedding": "l3core.embedding",
    "EmbeddingSpec": "l3core.spec",
    "get_audio_embedding": "l3core.openl3_api",
    "iter_windows": "l3core.table.scan",
    "read_windows": "l3core.table.read",
}
__all__ = [
    "Embedder",
    "Embedding",
    "EmbeddingSpec",
    "get_audio_embedding",
    "iter_windows",
    "read_windows",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
