"""The page of `l3flow avc train`: whether it learns, how well, and how fast."""

from collections.abc import Sequence

from markupsafe import Markup

from l3core.reports.page import COLOURS, drawing, render_page
from l3core.training.chance import percent
from l3core.training.checkpoints import Best
from l3core.training.history import EARLY, EPOCH, Row
from l3core.training.output import Identity, in_words

EPOCHS_SHOWN = 20
COLUMNS = (
    "epoch",
    "pairs seen",
    "loss",
    "accuracy",
    "validation loss",
    "validation accuracy",
    "pairs/s",
    "waited",
)
_NOT_SHOWN = ("model", "input_repr", "frontend")


def training_page(identity: Identity, rows: Sequence[Row], best: Best | None) -> str:
    """The page as HTML.

    Args:
        identity: what is trained on what.
        rows: the history so far.
        best: of its validations.
    """
    epochs = [row for row in rows if row.kind == EPOCH]
    early = [row for row in rows if row.kind == EARLY]
    charts = []
    if early:
        words = "Share of the last pairs that were told right, in the first thousand steps. "
        charts.append(("Early sign of life", words + _CHANCE, _accuracy(early, "step")))
    if epochs:
        words = "Share of pairs that were told right. Training: during the epoch; validation: after it, "
        words += "the same pairs each time. "
        charts.append(("Accuracy", words + _CHANCE, _accuracy(epochs, "samples")))
        charts.append(("Loss", "Mean cross-entropy, with the l2 losses of the kernels.", _loss(epochs)))
    return render_page(
        "training.html",
        title=f"{identity.settings.model}: training",
        figure=_figure(best, identity, len(epochs)),
        facts=_facts(identity),
        charts=charts,
        columns=COLUMNS,
        epochs=[_row(row) for row in epochs[-EPOCHS_SHOWN:]],
        epochs_left_out=max(0, len(epochs) - EPOCHS_SHOWN),
    )


_CHANCE = "The dashed line is chance: half of the pairs belong together."


def _figure(best: Best | None, identity: Identity, epochs: int) -> tuple[str, str] | None:
    if best is None:
        return None
    so_far = f"after epoch {best.epoch} ({best.samples:,} pairs); {epochs} of "
    so_far += f"{identity.settings.epochs} epochs are done"
    return percent(best.validation_accuracy), so_far


def _facts(identity: Identity) -> list[tuple[str, str]]:
    settings = identity.settings
    facts = [
        ("network", f"{settings.model}, {settings.input_repr}, {settings.frontend} front end"),
        ("corpus", f"{identity.corpus}, {identity.pairs:,} pairs to train on"),
        ("digest", identity.digest),
    ]
    for name, value in settings.as_json().items():
        if name not in _NOT_SHOWN:
            words = f"{value:,}" if type(value) is int and name != "seed" else f"{value}"
            facts.append((name.replace("_", " "), words))
    facts += [("devices", identity.devices), ("begun with", in_words(identity.versions))]
    return facts + [("went on with", in_words(each)) for each in identity.resumed]


def _accuracy(rows: Sequence[Row], across: str) -> Markup:
    with drawing() as chart:
        axes, places = chart.axes, [getattr(row, across) for row in rows]
        axes.plot(places, [100 * row.accuracy for row in rows], ".-", color=COLOURS[0], label="training")
        judged = [100 * row.validation_accuracy for row in rows if row.validation_accuracy is not None]
        if judged:
            axes.plot(places, judged, ".-", color=COLOURS[1], label="validation")
        axes.axhline(50, color=COLOURS[7], linestyle="--", label="chance")
        axes.set_xlabel("step" if across == "step" else "pairs seen")
        axes.set_ylabel("told right, %")
        axes.set_ylim(min([40.0, *(100 * row.accuracy for row in rows), *judged]), 100)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return chart.svg


def _loss(rows: Sequence[Row]) -> Markup:
    with drawing() as chart:
        axes, places = chart.axes, [row.samples for row in rows]
        axes.plot(places, [row.loss for row in rows], ".-", color=COLOURS[0], label="training")
        judged = [row.validation_loss for row in rows if row.validation_loss is not None]
        axes.plot(places, judged, ".-", color=COLOURS[1], label="validation")
        axes.set_xlabel("pairs seen")
        axes.set_ylabel("loss")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return chart.svg


def _row(row: Row) -> tuple[str, ...]:
    assert row.validation_loss is not None
    assert row.validation_accuracy is not None
    return (
        str(row.epoch),
        f"{row.samples:,}",
        f"{row.loss:.4f}",
        percent(row.accuracy),
        f"{row.validation_loss:.4f}",
        percent(row.validation_accuracy),
        f"{row.samples_per_s:,.0f}",
        percent(row.wait_share),
    )
