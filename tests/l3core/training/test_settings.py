"""What a training can be told."""

from dataclasses import replace

import pytest

from l3core.errors import SpecError, UsageError
from l3core.training.settings import PRESETS, TrainingSettings, settings_of


def test_the_paper():
    """Facts of l3embedding's jobs: 300 epochs of 4096 batches of 64 are 78.6 million pairs."""
    paper = PRESETS["paper"]
    assert paper.samples == 78_643_200
    assert (paper.learning_rate, paper.learning_rate_decay) == (1e-5, 1.0)
    assert (paper.l2, paper.seed) == (1e-5, 20180216)
    kept = [step for step in range(1, paper.steps + 1) if paper.keeps_checkpoint(step)]
    assert kept == [epoch * 4096 for epoch in range(10, 301, 10)]


def test_a_checkpoint_is_kept_after_the_step_that_reaches_it():
    settings = TrainingSettings(batch_size=3, checkpoint_samples=10)
    assert [step for step in range(12) if settings.keeps_checkpoint(step)] == [4, 7, 10]


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("model", "l4", "model: .*l3-narrow"),
        ("input_repr", "mel512", "input_repr"),
        ("frontend", "old", "frontend"),
        ("epochs", 0, "epochs: needs a whole number above 0, got 0"),
        ("batch_size", -1, "batch_size"),
        ("learning_rate", 0.0, "learning_rate: needs a number above 0"),
        ("learning_rate", float("nan"), "learning_rate"),
        ("learning_rate_decay", 0.0, "learning_rate_decay: needs a number above 0, at most 1"),
        ("learning_rate_decay", 1.1, "learning_rate_decay"),
        ("l2", -1e-5, "l2"),
        ("seed", -1, "seed"),
        ("seed", 2**32, "seed"),
        ("precision", "float16", "precision: needs one of float32"),
        ("precision", "int8", "precision: needs one of float32"),
    ],
)
def test_what_cannot_be_is_refused(field, value, match):
    with pytest.raises(SpecError, match=match):
        replace(TrainingSettings(), **{field: value})


def test_settings_come_back_from_a_file():
    assert settings_of(PRESETS["toy"].as_json(), "f") == PRESETS["toy"]
    for damaged in ({}, PRESETS["toy"].as_json() | {"more": 1}, PRESETS["toy"].as_json() | {"l2": "x"}):
        with pytest.raises(UsageError, match=r"^f is"):
            settings_of(damaged, "f")
