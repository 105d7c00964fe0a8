"""What the rest of the system may know of an embedding model.

A model owns its sample rate, its window, its options and its network; nothing outside it assumes
48 kHz, one second or 6144 numbers. A new model is one file with one subclass and a row in the table
of `l3core.models`.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from l3core.channels import Mix

if TYPE_CHECKING:  # Keras is loaded by whoever builds a network, on a worker
    import keras

    from l3core.models.dense import DenseWindows
    from l3core.models.stages import Stages
    from l3core.spec import EmbeddingSpec
    from l3core.steps import Steps

Beside = Callable[[str], bytes]
"""Name of a file that belongs beside another -> its content."""


class LayerShapes(NamedTuple):
    """A layer with weights: its name and the shapes of its tensors, in the order of a weights file."""

    name: str
    shapes: tuple[tuple[int, ...], ...]


class PublishedFile(NamedTuple):
    r"""A weights file at a public address.

    Of a file without a digest here, the one that it had when it was first on a machine is kept there,
    and holds from then on.

    Attributes:
        name: the file's name, below `base_url`.
        base_url: where its authors publish it; None where only people can fetch it, from `page`.
        git_blob_sha1: sha1 of `b"blob %d\0" % size` and the content, git's own name of the file.
        licence: of the weights.
        trained_on: what they were trained on.
        md5: where that is what is known of it.
        page: that tells people where it is.
    """

    name: str
    base_url: str | None
    git_blob_sha1: str | None
    licence: str
    trained_on: str
    md5: str | None = None
    page: str | None = None


class BundledFile(NamedTuple):
    """A weights file that ships inside the package."""

    path: Path
    sha256: str
    licence: str
    trained_on: str


class EmbeddingModel(abc.ABC):
    """An audio embedding: how it is called, what can be chosen, and its network.

    Attributes:
        name: what `--model` takes.
        summary: one line for a list of models.
        sample_rate_hz: the rate of the signal it takes.
        window_samples: samples of one window at that rate.
        choices: the fields of `EmbeddingSpec` that this model has, each with what it allows, the
            default first. A field that is not here must be left alone.
        options: the `EmbeddingSpec.model_options` that it has, each with what it allows, default first.
        default_hop_s: hop in seconds where none is given.
        algorithm_version: raised whenever the same spec and weights give other values.
        mix: "mean" of all channels, or the "first" one only.
        windows_per_second: what two ordinary CPU cores manage, for cutting work into shards.
        weights_are: what a weights file may be, for people.
    """

    name: str
    summary: str
    sample_rate_hz: int
    window_samples: int
    choices: Mapping[str, tuple[Any, ...]]
    options: Mapping[str, tuple[str, ...]] = {}
    default_hop_s: float = 0.1
    algorithm_version: int = 1
    mix: Mix = "mean"
    windows_per_second: float = 15.0
    weights_are: str = "an .h5 (or .h5.gz)"

    def rate_hz(self, spec: "EmbeddingSpec") -> int:
        """The rate of the signal that it takes, where that depends on an option."""
        return self.sample_rate_hz

    @abc.abstractmethod
    def embedding_size(self, spec: "EmbeddingSpec") -> int:
        """Numbers in one embedding."""

    @abc.abstractmethod
    def weight_files(self) -> Mapping[str, PublishedFile | BundledFile]:
        """Every file that `weights="published"` may mean, by a short name."""

    @abc.abstractmethod
    def weight_file(self, spec: "EmbeddingSpec") -> PublishedFile | BundledFile:
        """The file that `weights="published"` means for this spec."""

    def further_files(self, spec: "EmbeddingSpec") -> Mapping[str, PublishedFile]:
        """Files that belong beside `weight_file`, by their names."""
        return {}

    def read_tensors(
        self, content: bytes, spec: "EmbeddingSpec", *, name: str, beside: Beside
    ) -> tuple[np.ndarray, ...]:
        """The tensors in a weights file, float32, in the order of `layer_shapes`.

        Every model reads what `l3core.weights.to_h5` writes; one whose authors publish another format
        reads that, too. Nothing in a file may be executed.

        Args:
            content: of the file.
            spec: of this model.
            name: of the file, for people.
            beside: gives a file that belongs beside it.

        Raises:
            WeightsError: it does not hold them.
        """
        from l3core.keras_files import read_h5

        return read_h5(content, self.layer_shapes(spec), name=name)

    @abc.abstractmethod
    def layer_shapes(self, spec: "EmbeddingSpec") -> tuple[LayerShapes, ...]:
        """The layers of a weights file, in its order."""

    @abc.abstractmethod
    def random_tensors(self, spec: "EmbeddingSpec", seed: int) -> list[np.ndarray]:
        """Untrained weights, drawn by NumPy so that they are the same everywhere."""

    def stages(self, spec: "EmbeddingSpec") -> "Stages | None":
        """What the network is made of, for engines that do not run Keras; None: they cannot run it."""
        return None

    def steps(self, spec: "EmbeddingSpec") -> "Steps | None":
        """The network's steps in time, of a model whose windows these are.

        It has `l3core.windows.STEPS` as its only grid, and its front end takes windows with their
        context, `(batch, reach)`, in which NaN is what lies outside of a recording.
        """
        return None

    def rounds(self, spec: "EmbeddingSpec") -> bool:
        """Whether its numbers are rounded on purpose, so that two right ones may differ by a step."""
        return False

    def dense_windows(self, spec: "EmbeddingSpec") -> "DenseWindows | None":
        """How windows of the dense grid share work; None for a model whose windows cannot.

        A model that has them allows `l3core.windows.DENSE` among its grids.
        """
        return None

    @abc.abstractmethod
    def build_frontend(self, spec: "EmbeddingSpec") -> "keras.Model":
        """(batch, window_samples) float32 -> what the network takes."""

    @abc.abstractmethod
    def build_network(
        self, spec: "EmbeddingSpec", tensors: Sequence[np.ndarray], *, folded: bool
    ) -> "keras.Model":
        """The network with its weights -> (batch, embedding_size).

        Args:
            spec: of this model.
            tensors: weights in the order of `layer_shapes`.
            folded: with every BatchNormalization folded into its convolution (the way to compute);
                else as published (the truth to compare with).
        """
