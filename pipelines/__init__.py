"""Beam: the thin layer that distributes the plain functions of l3core.

    from pipelines import EmbedSignals, L3ModelHandler

The names are loaded when they are first used: who plans or submits needs no Beam.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.inference import EmbedSignals, L3ModelHandler

__all__ = ["EmbedSignals", "L3ModelHandler"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("pipelines.inference"), name)
