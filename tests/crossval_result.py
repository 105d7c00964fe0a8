"""A result of cross-validation, made up: for those who read one."""

import pyarrow as pa
import pyarrow.parquet as pq

from l3core.crossval.results import SCHEMAS

ROWS = {
    "predictions": {
        "protocol": "clean",
        "fold": 1,
        "repeat": 0,
        "clip_id": "a.wav",
        "true_label": "dog",
        "predicted_label": "cat's",
        "probabilities": [0.25, 0.75],
        "windows": 5,
    },
    "splits": {
        "fold": 1,
        "repeat": 0,
        "clip_id": "a.wav",
        "source": "a",
        "part": "test",
        "windows": 5,
    },
    "trials": {
        "fold": None,
        "repeat": 0,
        "combination": 1,
        "learning_rate": 0.1,
        "weight_decay": 0.0,
        "train_loss": [1.0, 0.5],
        "train_accuracy": [0.5, 1.0],
        "validation_loss": [1.0, 0.75],
        "validation_accuracy": [0.5, 0.5],
        "chosen_epoch": 2,
        "chosen": True,
        "seconds": 1.5,
    },
}


def make_result(folder):
    """A row in each of its tables; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, row in ROWS.items():
        pq.write_table(pa.Table.from_pylist([row], SCHEMAS[name]), folder / f"{name}.parquet")
    return folder
