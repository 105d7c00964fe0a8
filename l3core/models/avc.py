"""The whole L3-Net: does this frame belong to this second of sound?

An audio and a vision subnetwork, and two dense layers that see both (Arandjelovic and Zisserman 2017;
Cramer et al. 2019, section 3; l3embedding's `cnn_L3_melspec2` and its kin). What is learnt so by the
audio subnetwork is the embedding of `l3core.models.l3`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from l3core.errors import SpecError
from l3core.models import MODELS
from l3core.models.drawing import he_normal
from l3core.models.l3 import L3
from l3core.models.subnetwork import Subnetwork, vision
from l3core.models.trunk import DATA_FORMAT
from l3core.spec import EmbeddingSpec

if TYPE_CHECKING:
    import keras

TRAINABLE = tuple(name for name, model in MODELS.items() if isinstance(model, L3))
IMAGE_SHAPE = (224, 224, 3)
IMAGE_POOL = (28, 28)  # the whole last map
FUSED = 128


@dataclass(frozen=True, kw_only=True)
class AvcNetwork:
    """One of the networks that can be trained.

    Attributes:
        model: of `TRAINABLE`, what its audio subnetwork becomes.
        input_repr: spectrogram, as of `EmbeddingSpec`.
        frontend: generation of the spectrogram (`l3core.frontends`).

    Raises:
        SpecError: there is none such.
    """

    model: str = "l3"
    input_repr: str = "mel256"
    frontend: str = "as-trained"

    def __post_init__(self) -> None:
        if self.model not in TRAINABLE:
            problem = f"what can be trained is one of {', '.join(TRAINABLE)}, got {self.model!r}"
            raise SpecError("model", problem)
        EmbeddingSpec(**self.embedding_spec_fields)

    @property
    def embedding_spec_fields(self) -> dict[str, Any]:
        """The fields of an `EmbeddingSpec` that its weights are for."""
        return {"model": self.model, "input_repr": self.input_repr, "frontend": self.frontend}

    @property
    def embedding_spec(self) -> EmbeddingSpec:
        """A spec that its weights are for."""
        return EmbeddingSpec(**self.embedding_spec_fields)

    @property
    def _embedding(self) -> L3:
        model = MODELS[self.model]
        assert isinstance(model, L3)
        return model

    @property
    def audio(self) -> Subnetwork:
        """What hears."""
        return Subnetwork(medium="audio", channels=1, filters=self._embedding.trunk.filters)

    @property
    def vision(self) -> Subnetwork:
        """What sees."""
        return vision(self._embedding.trunk.filters)

    def build(self, *, seed: int, l2: float = 1e-5) -> "keras.Model":
        """The network with untrained weights, the same everywhere.

        Its layers have Keras' dtype policy; the spectrogram has float32 whatever that is, and what
        normalises the input and the softmax have what variables have, so float32 in mixed precision.

        Args:
            seed: of the weights.
            l2: weight of the sum of the kernels' squares in the loss.

        Returns:
            A model of [images float32 `(batch, 224, 224, 3)`, sound float32 `(batch, 48000)`], both in
            [-1, 1], whose output is `(batch, 2)`: how likely it is that they do not belong together, and
            that they do.
        """
        import keras
        from keras import layers

        image = keras.Input(IMAGE_SHAPE, dtype="float32", name="image")
        signal = keras.Input((self._embedding.window_samples,), dtype="float32", name="audio")
        seen = self.vision.build(image, l2=l2, whole=True)
        seen = layers.MaxPooling2D(IMAGE_POOL, padding="same", data_format=DATA_FORMAT)(seen)
        frontend = self._embedding.frontend(self.embedding_spec)
        heard = self.audio.build(self._build_frontend()(signal), l2=l2, whole=True)
        rest = (frontend.frequencies // 8, frontend.frames // 8)
        heard = layers.MaxPooling2D(rest, data_format=DATA_FORMAT)(heard)
        both = [layers.Flatten(data_format=DATA_FORMAT)(x) for x in (seen, heard)]
        model = keras.Model([image, signal], _fuse(layers.Concatenate()(both), l2), name="avc")
        self._draw(model, seed)
        return model

    def _build_frontend(self) -> "keras.Model":
        """The spectrogram, which half precision would ruin."""
        import keras

        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        try:
            built = self._embedding.build_frontend(self.embedding_spec)
            return keras.Model(built.inputs[0], built.outputs[0], name="frontend")
        finally:
            keras.config.set_dtype_policy(policy)

    def _draw(self, model: "keras.Model", seed: int) -> None:
        for part in (self.audio, self.vision):
            part.set_tensors(model, part.random_tensors(seed, whole=True), whole=True)
        for name in ("fusion", "match"):
            kernel, bias = model.get_layer(name).get_weights()
            drawn = he_normal(seed, name, kernel.shape)
            model.get_layer(name).set_weights([drawn, np.zeros_like(bias)])

    def audio_tensors(self, model: "keras.Model") -> list[np.ndarray]:
        """The weights of a model of `build` that are the embedding's, in its `layer_shapes`' order."""
        return self.audio.tensors_of(model, whole=False)

    def vision_tensors(self, model: "keras.Model") -> list[np.ndarray]:
        """The same of what sees, in the order of `vision.layer_shapes(whole=False)`."""
        return self.vision.tensors_of(model, whole=False)


def _fuse(both: "keras.KerasTensor", l2: float) -> "keras.KerasTensor":
    """What is seen and what is heard, in this order -> two probabilities."""
    import keras
    from keras import layers

    decay = keras.regularizers.L2(l2)
    drawn = {"kernel_initializer": "he_normal", "kernel_regularizer": decay}
    x = layers.Dense(FUSED, activation="relu", name="fusion", **drawn)(both)
    exact = keras.config.dtype_policy().variable_dtype
    return layers.Dense(2, activation="softmax", name="match", dtype=exact, **drawn)(x)
