"""The page of a training: what it says, and that names in it are text."""

from l3core.reports.training import training_page
from l3core.training.checkpoints import Best
from l3core.training.history import EARLY, EPOCH, Row
from l3core.training.output import Identity
from l3core.training.settings import TrainingSettings

HOSTILE = "pairs<script>alert(1)</script>&\"'"
IDENTITY = Identity(
    TrainingSettings(epochs=3), HOSTILE, "abc123", 10, {"keras": "3.1"}, 4, ({"keras": "3.2"},)
)
ROW = Row(EPOCH, 1, 6, 24, 0.7, 0.6, 24, 0.5, 0.875, 18, 1.0, 24.0, 0.1, 0.0)


def test_names_are_text():
    page = training_page(IDENTITY, [ROW], Best(1, 24, 0.875, 0.5))
    assert HOSTILE not in page
    assert "<script>alert" not in page
    assert "pairs&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;, 10 pairs to train on" in page


def test_an_empty_history_is_a_page_without_charts():
    page = training_page(IDENTITY, [], None)
    assert "<svg" not in page
    assert "told right" not in page
    assert "4, normalising 16 pairs each (the paper: 4, 16 each)" in page
    for name, value in (("begun with", "keras 3.1"), ("went on with", "keras 3.2")):
        assert f'<tr><th>{name}</th><td class="text">{value}</td></tr>' in page


def test_what_came_of_it():
    early = ROW._replace(
        kind=EARLY, step=3, validation_accuracy=None, validation_loss=None, validation_pairs=None
    )
    page = training_page(IDENTITY, [early, ROW], Best(1, 24, 0.875, 0.5))
    assert page.count("<svg") == 3
    assert "<strong>87.5 %</strong> of the validation's pairs were told right after epoch 1" in page
    assert "1 of 3 epochs are done" in page
