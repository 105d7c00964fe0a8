"""Tables as data to train on, for tf.data, PyTorch and Hugging Face; each is loaded when it is used.

from l3core.feeds import huggingface_dataset, tensorflow_dataset, torch_dataset
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from l3core.feeds.for_huggingface import huggingface_dataset
    from l3core.feeds.for_tensorflow import tensorflow_dataset
    from l3core.feeds.for_torch import torch_dataset

__all__ = ["huggingface_dataset", "tensorflow_dataset", "torch_dataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    library = name.removesuffix("_dataset")
    try:
        module = import_module(f"l3core.feeds.for_{library}")
    except ModuleNotFoundError as error:
        package = {"huggingface": "datasets"}.get(library, library)
        if error.name != package:
            raise
        told = f"{name} needs {package}: pip install 'l3flow[{library}]'"
        raise ModuleNotFoundError(told, name=package) from None
    return getattr(module, name)
