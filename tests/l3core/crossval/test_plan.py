"""What makes two cross-validations the same, and what is kept of their folds."""

import json
from dataclasses import fields, replace
from datetime import datetime, timezone

import pytest

from l3core.crossval.plan import CrossvalPlan, Fold, OutputPaths, content_of
from l3core.crossval.progress import CrossvalProgress, FoldNotes, Progress
from l3core.crossval.results import kept_models
from l3core.datasets import LabelledClip
from l3core.table.json_objects import write_json
from l3core.table.layout import LedgerRow

CLIPS = (LabelledClip("/a/x.wav", "dog", 1, "s"), LabelledClip("/a/y.wav", "cat", 2, "t"))
PLAN = CrossvalPlan(
    dataset="esc10",
    classes=("dog", "cat"),
    clips=CLIPS,
    clip_ids=("x.wav", "y.wav"),
    table="/table",
    fingerprint="s0",
    embedding={"spec": {}},
    content="c",
    protocol="clean",
    seed=0,
    batch_size=32,
    epochs=50,
    facts={"complete": True},
)
DECIDES = {
    "classes": ("cat", "dog"),
    "clips": (CLIPS[0]._replace(fold=2), CLIPS[1]),
    "clip_ids": ("x.wav", "z.wav"),
    "fingerprint": "s1",
    "content": "d",
    "protocol": "paper",
    "seed": 1,
    "batch_size": 64,
    "epochs": 49,
}
SAYS = {"dataset": "esc50", "table": "/moved", "embedding": {}, "facts": {}}


def test_all_that_decides_is_in_the_digest_and_nothing_else():
    assert set(DECIDES) | set(SAYS) == {each.name for each in fields(PLAN)}
    for name, value in DECIDES.items():
        assert replace(PLAN, **{name: value}).digest != PLAN.digest, name
    for name, value in SAYS.items():
        assert replace(PLAN, **{name: value}).digest == PLAN.digest, name
    moved = tuple(clip._replace(uri=f"gs://b{clip.uri}") for clip in CLIPS)
    assert replace(PLAN, clips=moved).digest == PLAN.digest


def test_a_plan_travels_as_json():
    assert PLAN.digest
    assert CrossvalPlan.from_json(json.loads(json.dumps(PLAN.to_json()))) == PLAN


@pytest.mark.parametrize("fold", [Fold(3, 2), Fold(None, 1), Fold(10, 11)])
def test_folds_have_names(fold):
    assert Fold.from_name(fold.name) == fold


def row(name, **changed):
    facts = {"uri": f"/a/{name}", "size_bytes": 1, "version": "1", "windows_written": 3}
    return LedgerRow(clip_id=name, embedded_at=datetime.now(timezone.utc), **facts | changed)


def test_the_content_is_that_of_the_clips_alone():
    rows = [row("x.wav"), row("y.wav"), row("other.wav")]
    content = content_of(rows, ["x.wav", "y.wav"])
    assert content_of(rows[1::-1], ["y.wav", "x.wav"]) == content
    assert content_of([*rows[:2], row("new.wav")], ["x.wav", "y.wav"]) == content
    for changed in (
        {"version": "2"},
        {"windows_written": 2},
        {"status": "truncated"},
        {"size_bytes": 2},
    ):
        assert content_of([row("x.wav", **changed), *rows[1:]], ["x.wav", "y.wav"]) != content


def test_the_model_that_is_kept_did_best_on_its_validation_never_on_its_test():
    done = [
        {"fold": 1, "validation_accuracy": 0.5, "accuracy": 0.9},
        {"fold": 1, "validation_accuracy": 0.7, "accuracy": 0.1},
        {"fold": 1, "validation_accuracy": 0.7, "accuracy": 0.8},
        {"fold": 2, "validation_accuracy": 0.2, "accuracy": 0.2},
        {"fold": None, "validation_accuracy": 0.3, "accuracy": None},
    ]
    assert kept_models(done) == {
        "models/fold1.keras": 1,
        "models/fold2.keras": 3,
        "models/final.keras": 4,
    }


def test_progress_counts_folds_and_epochs(tmp_path):
    paths = OutputPaths(str(tmp_path))
    names = ["fold1-repeat1", "fold2-repeat1", "fold3-repeat1", "fold4-repeat1"]
    FoldNotes(paths, PLAN.digest, names[1]).note(49, 1)  # of an interrupted run
    look = CrossvalProgress(paths, PLAN, names)
    assert look() == Progress(0.0, 0, 4, ())
    assert not look().begun
    write_json(paths.fold(PLAN.digest, names[0]) + "/done.json", {})
    write_json(paths.fold(PLAN.digest, "final-repeat1") + "/done.json", {})  # not of this run
    notes = FoldNotes(paths, PLAN.digest, names[1])
    notes.note(25, 9)
    notes.note(26, 8)  # too soon for another note
    assert look() == Progress((1 + 0.5) / 4, 1, 4, ((names[1], 25, 9),))
    assert look().begun


def test_a_note_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "file").touch()
    FoldNotes(OutputPaths(str(tmp_path / "file")), PLAN.digest, "fold1-repeat1").note(1, 9)
