"""What a training leaves behind for others: weights in openl3's published layout, and a card of them."""

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from l3core.errors import UsageError
from l3core.keras_files import write_h5
from l3core.models.avc import AvcNetwork
from l3core.models.subnetwork import Subnetwork
from l3core.training.history import read_history
from l3core.training.opening import Training
from l3core.training.output import Identity, OutputPaths, in_words
from l3core.weights import Weights

SUFFIXES = {2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}
CARD = """\
# {name}
The audio network of L3-Net, trained by l3flow to tell whether sound and picture belong together (Cramer,
Wu, Salamon and Bello, "Look, Listen and Learn More", ICASSP 2019), in the layout of openl3's files.

| | |
|---|---|
{rows}

## Use
    {command}

## Settings of the training
{settings}

## Licence
These weights are of whoever trained them; l3flow attaches no licence to them. What may be done with them
depends on the videos that they were learnt from, too.
"""


class Facts(NamedTuple):
    """What is known of a checkpoint.

    Attributes:
        training: it is of.
        samples: pairs that it had seen, each as often as it saw it.
        accuracy: share of the validation's pairs that it tells right; None: there was none after it.
        validation_pairs: how many these are.
    """

    training: Identity
    samples: int
    accuracy: float | None
    validation_pairs: int | None

    @property
    def network(self) -> AvcNetwork:
        """What was trained."""
        return self.training.settings.network


class Exported(NamedTuple):
    """Files of a checkpoint.

    Attributes:
        audio: an .h5 of the embedding.
        vision: an .h5 of what sees; empty if it was not asked for.
        card: Markdown.
        digest: of the embedding's weights, see `Weights.digest`.
        facts: that are in the card.
    """

    audio: bytes
    vision: bytes
    card: str
    digest: str
    facts: Facts


def export_training(training: Training, samples: int, *, name: str, vision: bool = False) -> Exported:
    """Files of a checkpoint.

    Args:
        training: it is of.
        samples: that it had seen.
        name: path or URI of the weights, for the card.
        vision: whether the vision network is wanted, too.

    Raises:
        UsageError: it is of another network.
        DamagedError: it is not what was written.
    """
    where = training.checkpoints.folder(samples)
    variables = training.checkpoints.weights(samples)
    facts = facts_of(training, samples)
    weights = Weights(tuple(tensors_in(variables, facts.network.audio, where=where)), where)
    seen = tensors_in(variables, facts.network.vision, where=where) if vision else None
    return Exported(
        export_audio(weights.tensors, facts.network),
        b"" if seen is None else export_vision(seen, facts.network),
        card(facts, name=name, digest=weights.digest),
        weights.digest,
        facts,
    )


def facts_of(training: Training, samples: int) -> Facts:
    """What is known of a checkpoint of a training."""
    rows = read_history(OutputPaths(training.root).history)
    judged = [row for row in rows if row.samples == samples and row.validation_accuracy is not None]
    accuracy, pairs = (
        (judged[-1].validation_accuracy, judged[-1].validation_pairs) if judged else (None, None)
    )
    return Facts(training.identity, samples, accuracy, pairs)


def tensors_in(variables: Mapping[str, np.ndarray], part: Subnetwork, *, where: str) -> list[np.ndarray]:
    """The tensors of an embedding among the variables of a network, float32, as `layer_shapes` has them.

    Args:
        variables: of a model of `AvcNetwork.build`, by their paths ("audio_conv2d_1/kernel").
        part: that makes the embedding.
        where: they are from, for people.

    Raises:
        UsageError: they are of another network.
    """
    tensors = []
    for layer in part.layer_shapes(whole=False):
        for suffix, shape in zip(SUFFIXES[len(layer.shapes)], layer.shapes):
            name = f"{layer.name}/{suffix}"
            found = variables[name].shape if name in variables else "nothing"
            if found != shape:
                raise UsageError(f"{where} is of another network: {name} needs {shape}, has {found}")
            tensors.append(np.asarray(variables[name], np.float32))
    return tensors


def export_audio(tensors: Sequence[np.ndarray], network: AvcNetwork) -> bytes:
    """An .h5 that `EmbeddingSpec(weights=...)` takes and, of model `l3`, openl3 itself.

    Args:
        tensors: as `AvcNetwork.audio_tensors` gives them.
        network: what they are of.
    """
    spec = network.embedding_spec
    return write_h5(tensors, spec.network.layer_shapes(spec))


def export_vision(tensors: Sequence[np.ndarray], network: AvcNetwork) -> bytes:
    """An .h5 that, of model `l3`, `l3core.openl3_api.load_image_embedding_model_from_path` takes.

    Args:
        tensors: as `AvcNetwork.vision_tensors` gives them.
        network: what they are of.
    """
    return write_h5(tensors, network.vision.layer_shapes(whole=False))


def embedding_command(file: str, network: AvcNetwork) -> str:
    """How weights in a file are used."""
    fields = network.embedding_spec_fields.items()
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in fields)
    return f"l3flow embed --weights {shlex.quote(file)} {flags} --input 'sound/*.wav' --output table"


def card(facts: Facts, *, name: str, digest: str) -> str:
    """A model card, Markdown.

    Args:
        facts: what is known.
        name: path or URI of the weights.
        digest: of them, see `Weights.digest`.
    """
    known, network = facts.training, facts.network
    accuracy = "not measured after it"
    if facts.accuracy is not None:
        accuracy = f"{100 * facts.accuracy:.2f} % of {facts.validation_pairs} pairs (chance: 50 %)"
    if known.settings.shuffle_labels:
        accuracy += "; trained on drawn labels, a control"
    rows = {
        "model": f"`{network.model}`",
        "spectrogram": f"{network.input_repr}, front end `{network.frontend}`",
        "data": f"`{known.corpus}`, {known.pairs:,} pairs, digest `{known.digest}`",
        "seed": known.settings.seed,
        "samples seen": f"{facts.samples:,}",
        "AVC accuracy, validation": accuracy,
        "digest of the weights": f"`{digest}`",
        "devices": known.devices,
        "versions": "; then ".join(in_words(each) for each in (known.versions, *known.resumed)),
    }
    settings = known.settings.as_json().items()
    return CARD.format(
        name=posixpath.basename(name),
        rows="\n".join(f"| {what} | {value} |" for what, value in rows.items()),
        command=embedding_command(name, network),
        settings="\n".join(f"- {what}: {value}" for what, value in settings),
    )
