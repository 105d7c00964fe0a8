"""The table of embedding models. Importing it loads neither TensorFlow nor Keras."""

from l3core.models.base import BundledFile, EmbeddingModel, LayerShapes, PublishedFile
from l3core.models.edgel3 import EdgeL3Sea64
from l3core.models.l3 import L3
from l3core.models.l3_narrow import L3Narrow
from l3core.models.soundnet import SoundNet
from l3core.models.vggish import VGGish

__all__ = ["MODELS", "BundledFile", "EmbeddingModel", "LayerShapes", "PublishedFile"]

MODELS: dict[str, EmbeddingModel] = {
    model.name: model for model in (L3(), L3Narrow(), EdgeL3Sea64(), VGGish(), SoundNet())
}
