"""Progress from manifests and from notes of running shards."""

import pytest

from l3core.table import progress as progressing
from l3core.table import rewrite as rewriting
from l3core.table.progress import Progress, RunProgress, ShardNotes
from l3core.table.rewrite import plan_rewrites, rewrite_files
from tests.corpus import PlainRun, write_files


@pytest.fixture
def run(tmp_path):
    """Six files of five windows, a shard each."""
    return PlainRun(write_files(tmp_path / "corpus", 6), tmp_path / "table", "run-1").make_plan()


def test_it_grows_with_finished_shards(run):
    look = RunProgress(run.paths, run.plan, hop_s=0.25)
    assert look() == Progress(0.0, 0, 0, 0.0)
    run.embed(shards=3)
    half = look()
    assert (half.files, half.windows, half.audio_s) == (3, 15, 3.75)
    assert half.share == pytest.approx(0.5)
    run.embed()
    assert look() == Progress(1.0, 6, 30, 7.5)


def test_a_running_shard_counts_by_its_notes(run, monkeypatch):
    monkeypatch.setattr(progressing, "NOTE_EVERY_S", 0.0)
    look = RunProgress(run.paths, run.plan, hop_s=0.25)
    shard = run.plan.to_embed[0].name
    notes = ShardNotes(run.paths, run.run_id, shard, run.plan.fingerprint)
    notes.note(0, 3, 0.75)
    notes.close()
    assert look()[1:4] == (0, 3, 0.75)
    assert 0 < look().share < 1 / 6
    run.embed(shards=1)  # now its manifest counts, and the note no more
    assert look()[1:4] == (1, 5, 1.25)


def test_notes_are_not_left_at_every_batch(run):
    notes = ShardNotes(run.paths, run.run_id, "000000", run.plan.fingerprint)
    for windows in range(100):
        notes.note(0, windows, 0.0)
    assert RunProgress(run.paths, run.plan, hop_s=0.25)().windows == 0


def test_rewrites_are_told_when_everything_is_embedded(run, monkeypatch):
    monkeypatch.setattr(rewriting, "MOST_SMALL", 1)
    look = RunProgress(run.paths, run.plan, hop_s=0.25)
    run.embed()
    assert (look().rewritten, look().to_rewrite) == (0, 0)
    names = plan_rewrites(run.paths, run.run_id)
    assert (look().rewritten, look().to_rewrite) == (0, 1)
    rewrite_files(run.paths, run.run_id, *names)
    assert (look().rewritten, look().to_rewrite) == (1, 1)
