"""Cells of studies with made-up accuracies, for tests of what is asked of them and of their page."""

from l3core.datasets import DATASETS
from l3core.study.plan import read_plan
from l3core.study.scores import Cell

SPECTROGRAMS = ("linear", "mel128", "mel256")
# Made up: each spectrogram is three points better than the one before, content changes nothing much.
BETTER = {"linear": 0.0, "mel128": 0.03, "mel256": 0.06}
CONTENTS = {"music": 0.0, "env": 0.004}
PAPER = """
[datasets.esc50]
root = "esc"
repeats = 2
[datasets.dcase2013]
root = "dcase"
[[embeddings]]
model = "l3"
input_repr = ["linear", "mel128", "mel256"]
content = ["music", "env"]
[[embeddings]]
model = "edgel3-sea-64"
[[embeddings]]
model = "no <b>such</b> model"
"""


def plan_of(text):
    """The plan that a text describes."""
    return read_plan(text.encode(), "plan.toml", {})


def score(dataset, embedding, fold, repeat):
    """A made-up accuracy: folds differ by more than embeddings do."""
    spec = embedding.spec
    share = 0.5 + 0.05 * fold + 0.002 * repeat + 0.0007 * ((fold * 7 + repeat * 3) % 5)
    if spec.model != "l3":
        return share - 0.1
    return share + BETTER[spec.input_repr] + CONTENTS[spec.content] * (1 + fold % 2)


def cells_of(plan, *, missing=(), complete=True, score=score):
    """All cells of a plan; those of models that there are not, and of `missing`, have a reason."""
    found = []
    for dataset in plan.datasets:
        known = DATASETS[dataset.name]
        for embedding in plan.embeddings:
            for protocol in plan.protocols:
                if embedding.problem or embedding.name in missing:
                    reason = embedding.problem or "no weights <i>here</i>"
                    found.append(Cell(dataset.name, embedding, protocol, reason=reason))
                    continue
                folds = [
                    {
                        "fold": fold,
                        "repeat": repeat,
                        "accuracy": score(dataset.name, embedding, fold, repeat),
                        "clips": known.fold_sizes[fold],
                        "seconds": 2.0,
                    }
                    for fold in known.test_folds
                    for repeat in range(1, (dataset.repeats or 1) + 1)
                ]
                summary = {
                    "folds": folds,
                    "protocol": protocol,
                    "epochs": plan.epochs,
                    "batch_size": plan.batch_size or 32,
                    "embedding": {"spec": embedding.spec.to_dict()},
                    "complete": complete,
                    "clips": known.clips,
                    "published_clips": known.clips,
                    "interval": [0.5, 0.6],
                    "clip_accuracy": 0.55,
                    "leaky_validation": protocol == "paper",
                    "fingerprint": "s0123456789abcdef",
                }
                found.append(Cell(dataset.name, embedding, protocol, summary, embedding_s=3.0))
    return found
