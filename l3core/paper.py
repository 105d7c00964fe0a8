"""What Cramer, Wu, Salamon and Bello report ("Look, Listen and Learn More", ICASSP 2019), beside ours.

Percent, at a hop of 0.1 s. Figures 2, 3 and 5 are box plots whose numbers the text gives in part;
Table 2 has the comparison of embeddings. Its row of L3 mixes two models (UrbanSound8K is mel256/env, the
rest mel256/music), and the text's differences to the baselines are of 78.23 and off by 0.05 from it.

The weights that OpenL3 publishes are of a training in 2019, after the paper: that of the paper took the
loudest bin of a whole batch for the reference of its decibels.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

HOP_S = 0.1
# SoundNet's layer is told nowhere; conv7 at the file's own rate fits a table that was published.
OPTIONS = {"variant": "quantised", "layer": "conv7", "rate": "native"}
EPOCHS, BATCH_SIZE = 50, 32
# (dataset, model, spectrogram, content)
ACCURACIES: dict[tuple[str, str, str | None, str | None], float] = {
    ("urbansound8k", "l3", "mel256", "music"): 78.23,
    ("urbansound8k", "l3", "mel256", "env"): 79.34,
    ("esc50", "l3", "mel256", "music"): 79.82,
    ("dcase2013", "l3", "mel256", "music"): 97.0,
    ("urbansound8k", "vggish", None, None): 73.43,
    ("esc50", "vggish", None, None): 73.54,
    ("dcase2013", "vggish", None, None): 93.0,
    ("urbansound8k", "soundnet", None, None): 68.80,
    ("esc50", "soundnet", None, None): 47.66,
    ("dcase2013", "soundnet", None, None): 76.0,
}
# What the L3 in a row of Table 2 was trained on.
TABLE_2_CONTENTS = {"urbansound8k": "env", "esc50": "music", "dcase2013": "music"}
# Figure 4: pairs that the training had seen -> accuracy of audio-visual correspondence on validation.
AVC_ACCURACIES = {
    0.26e6: 0.502,
    2.62e6: 0.585,
    5.24e6: 0.632,
    13.11e6: 0.689,
    26.21e6: 0.730,
    39.32e6: 0.745,
    52.43e6: 0.753,
    65.54e6: 0.762,
    78.64e6: 0.771,
}


class Published(NamedTuple):
    """What the paper reports beside a cell.

    Attributes:
        accuracy: 0 to 1.
        differs: in what the cell is not what the paper did; empty: in nothing that is known. Its grid
            is not looked at: the paper's code lays windows a little differently (`--grid paper`).
    """

    accuracy: float
    differs: tuple[str, ...]


def published(
    dataset: str,
    spec: Mapping[str, Any],
    *,
    complete: bool,
    training: Mapping[str, Any] | None = None,
) -> Published | None:
    """The paper's figure for a dataset and an embedding; None: it has none in words.

    Args:
        dataset: its name.
        spec: all fields of an `EmbeddingSpec`.
        complete: whether all clips of the dataset are there.
        training: what `l3core.crossval.summary.summarise` says of it; None: it is not looked at.
    """
    percent = ACCURACIES.get((dataset, spec["model"], spec["input_repr"], spec["content"]))
    if percent is None:
        return None
    differs = []
    if spec["weights"] != "published":
        differs.append(f"weights {spec['weights']}")
    if spec["model"] == "l3" and spec["embedding_size"] != 6144:
        differs.append(f"{spec['embedding_size']} numbers")
    if spec["model"] == "l3" and spec["input_repr"] != "linear" and spec["frontend"] != "as-trained":
        differs.append(f"front end {spec['frontend']}")  # of linear both are the same
    if spec["precision"] != "float32":
        differs.append(spec["precision"])
    if spec["model"] != "soundnet" and spec["hop_s"] != HOP_S:  # it has time steps of its own
        differs.append(f"hop {spec['hop_s']:g} s")
    options = spec["model_options"]
    differs += [f"{name} {options[name]}" for name in options if options[name] != OPTIONS.get(name)]
    if not complete:
        differs.append("a part of the clips")
    if training is not None:
        differs += _of_training(training)
    return Published(percent / 100, tuple(differs))


def _of_training(training: Mapping[str, Any]) -> list[str]:
    differs = []
    if training["protocol"] != "paper":
        differs.append(f"protocol {training['protocol']}")  # which has batches of its own
    elif training["batch_size"] != BATCH_SIZE:
        differs.append(f"batches of {training['batch_size']}")
    if training["epochs"] != EPOCHS:
        differs.append(f"{training['epochs']} epochs")
    return differs
