"""What a cross-validation leaves: a folder for each finished fold, and at the end the tables of all.

OUT/predictions.parquet      a row for each tested clip, fold and repeat
OUT/splits.parquet           which clip was in which part
OUT/trials.parquet           a row for each combination: losses and accuracies by epoch
OUT/summary.json             the figures
OUT/models/fold<k>.keras     the best model of each fold, and final.keras
OUT/_crossval/               ours: finished folds, so that an interrupted run goes on
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from l3core import storage
from l3core.classifier import to_keras
from l3core.crossval.folds import FoldResult
from l3core.crossval.plan import CrossvalPlan, OutputPaths
from l3core.table.json_objects import read_json, write_json

TABLES = ("predictions", "splits", "trials")
_CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")

SCHEMAS = {
    "predictions": pa.schema(
        [
            pa.field("protocol", pa.string(), nullable=False),
            pa.field("fold", pa.int32(), nullable=False),
            pa.field("repeat", pa.int32(), nullable=False),
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("true_label", pa.string(), nullable=False),
            pa.field("predicted_label", pa.string(), nullable=False),
            pa.field("probabilities", pa.list_(pa.float64()), nullable=False),
            pa.field("windows", pa.int32(), nullable=False),
        ]
    ),
    "splits": pa.schema(
        [
            pa.field("fold", pa.int32()),
            pa.field("repeat", pa.int32(), nullable=False),
            pa.field("clip_id", pa.string(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("part", pa.string(), nullable=False),
            pa.field("windows", pa.int32(), nullable=False),
        ]
    ),
    "trials": pa.schema(
        [
            pa.field("fold", pa.int32()),
            pa.field("repeat", pa.int32(), nullable=False),
            pa.field("combination", pa.int32(), nullable=False),
            pa.field("learning_rate", pa.float64(), nullable=False),
            pa.field("weight_decay", pa.float64(), nullable=False),
            *(pa.field(name, pa.list_(pa.float64()), nullable=False) for name in _CURVES),
            pa.field("chosen_epoch", pa.int32(), nullable=False),
            pa.field("chosen", pa.bool_(), nullable=False),
            pa.field("seconds", pa.float64(), nullable=False),
        ]
    ),
}


def write_fold(
    paths: OutputPaths, plan: CrossvalPlan, result: FoldResult, window_clips: np.ndarray
) -> None:
    """Leave a finished fold; `done.json` comes last, so a fold is there whole or not at all.

    Args:
        paths: of the output.
        plan: of the cross-validation.
        result: of the fold.
        window_clips: place of each window's clip in the plan.
    """
    folder = paths.fold(plan.digest, result.fold.name)
    rows = {
        "predictions": _prediction_rows(plan, result, window_clips),
        "splits": _split_rows(plan, result, window_clips),
        "trials": _trial_rows(result),
    }
    for name in TABLES:
        _write_table(storage.join(folder, f"{name}.parquet"), name, rows[name])
    storage.write_bytes(storage.join(folder, "model.keras"), to_keras(result.classifier))
    chosen = result.trials[result.best]
    done = {
        "fold": result.fold.test_fold,
        "repeat": result.fold.repeat,
        "clips": len(result.clips),
        "accuracy": _accuracy(plan, result),
        # JSON has no NaN, which is what a training that diverged ends with
        "validation_loss": loss if np.isfinite(loss := chosen.chosen.validation_loss) else None,
        "validation_accuracy": chosen.chosen.validation_accuracy,
        "chosen_epoch": chosen.chosen_epoch,
        "seconds": result.seconds,
        **chosen.hyperparameters._asdict(),
    }
    write_json(storage.join(folder, "done.json"), done)


def finished_folds(paths: OutputPaths, digest: str) -> list[str]:
    """Names of the plan's finished folds."""
    names = storage.names_below(paths.work(digest), suffix="")
    return [name for name in names if is_finished(paths, digest, name)]


def is_finished(paths: OutputPaths, digest: str, name: str) -> bool:
    """Whether a fold is trained and all that it left is in place."""
    return storage.is_object(storage.join(paths.fold(digest, name), "done.json"))


def merge_folds(paths: OutputPaths, plan: CrossvalPlan, names: Sequence[str]) -> list[dict[str, Any]]:
    """Put tables and models of some finished folds in place; what each `done.json` says, in order."""
    folders = [paths.fold(plan.digest, name) for name in names]
    for table in TABLES:
        parts = [_read_table(storage.join(folder, f"{table}.parquet")) for folder in folders]
        with storage.writing(paths.at(f"{table}.parquet")) as file:
            pq.write_table(pa.concat_tables(parts), file, compression="zstd")
    done = [read_json(storage.join(folder, "done.json")) for folder in folders]
    for name, place in kept_models(done).items():
        model = storage.read_bytes(storage.join(folders[place], "model.keras"))
        storage.write_bytes(paths.at(name), model)
    return done


def kept_models(done: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The model file of each fold, and the place of the training that it is from.

    Of several repeats it is the one that did best on its validation part, never on its test.
    """
    best: dict[str, int] = {}
    for place, each in enumerate(done):
        name = "models/final.keras" if each["fold"] is None else f"models/fold{each['fold']}.keras"
        known = best.setdefault(name, place)
        if each["validation_accuracy"] > done[known]["validation_accuracy"]:
            best[name] = place
    return best


def read_table(paths: OutputPaths, name: str) -> pa.Table:
    """One of `TABLES`."""
    return _read_table(paths.at(f"{name}.parquet"))


def _accuracy(plan: CrossvalPlan, result: FoldResult) -> float | None:
    if not len(result.clips):
        return None
    hits = result.probabilities.argmax(axis=1) == plan.labels[result.clips]
    return float(hits.mean())


def _prediction_rows(
    plan: CrossvalPlan, result: FoldResult, window_clips: np.ndarray
) -> Iterable[dict[str, Any]]:
    windows = np.bincount(window_clips[result.parts.test], minlength=len(plan.clips))
    for clip, probabilities in zip(result.clips, result.probabilities):
        yield {
            "protocol": plan.protocol,
            "fold": result.fold.test_fold,
            "repeat": result.fold.repeat,
            "clip_id": plan.clip_ids[clip],
            "true_label": plan.clips[clip].label,
            "predicted_label": plan.classes[probabilities.argmax()],
            "probabilities": probabilities,
            "windows": windows[clip],
        }


def _split_rows(
    plan: CrossvalPlan, result: FoldResult, window_clips: np.ndarray
) -> Iterable[dict[str, Any]]:
    for part in ("train", "validation", "test"):
        clips, windows = np.unique(window_clips[getattr(result.parts, part)], return_counts=True)
        for clip, count in zip(clips, windows):
            yield {
                "fold": result.fold.test_fold,
                "repeat": result.fold.repeat,
                "clip_id": plan.clip_ids[clip],
                "source": plan.clips[clip].source,
                "part": part,
                "windows": count,
            }


def _trial_rows(result: FoldResult) -> Iterable[dict[str, Any]]:
    for number, trial in enumerate(result.trials):
        yield {
            "fold": result.fold.test_fold,
            "repeat": result.fold.repeat,
            "combination": number + 1,
            **trial.hyperparameters._asdict(),
            **dict(zip(_CURVES, zip(*trial.epochs))),
            "chosen_epoch": trial.chosen_epoch,
            "chosen": number == result.best,
            "seconds": trial.seconds,
        }


def _write_table(uri: str, name: str, rows: Iterable[dict[str, Any]]) -> None:
    with storage.writing(uri) as file:
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMAS[name]), file, compression="zstd")


def _read_table(uri: str) -> pa.Table:
    fs, path = storage.filesystem(uri)
    with fs.open(path, "rb") as file:
        return pq.ParquetFile(file).read()


def labels_of(table: pa.Table, column: str, classes: Sequence[str]) -> np.ndarray:
    """Places of a column's labels in `classes`, int64."""
    place = {label: number for number, label in enumerate(classes)}
    return np.array([place[label] for label in table[column].to_pylist()], np.int64)
