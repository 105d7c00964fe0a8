"""A preview says what a run then does."""

import pytest

from l3core.listing import list_inputs, parse_pattern
from l3core.table import plan as planning
from l3core.table import preview as previewing
from l3core.table.delta import Rules
from l3core.table.layout import TablePaths
from l3core.table.limits import Limits
from l3core.table.preview import preview_run
from l3core.table.state import load_state
from tests.corpus import SPEC, PlainRun, expected_rows, snapshot, table_rows, write_audio, write_files


def preview(corpus, table, limits=None, **rules):
    run = PlainRun(corpus, table, "preview")
    return preview_run(
        run.paths,
        load_state(run.paths),
        list_inputs([parse_pattern(str(corpus))]),
        spec=SPEC,
        fingerprint=SPEC.fingerprint(run.embedder.weights.digest),
        root=str(corpus),
        rules=Rules(**run.rules | rules),
        limits=limits or Limits(),
    )


@pytest.fixture
def corpus(tmp_path):
    corpus = write_files(tmp_path / "corpus", 5)  # of a second, five windows each
    write_audio(corpus / "long.wav", 8.0)  # 33 windows
    (corpus / "text.wav").write_text("no audio")
    return corpus


def test_it_is_exact_for_few_files(corpus, tmp_path):
    table = tmp_path / "table"
    found = preview(corpus, table)
    assert not table.exists()
    assert found.counts == {"new": 7}
    assert (found.files, found.unreadable) == (7, 1)
    assert (found.windows, found.windows_error) == (5 * 5 + 33, 0)
    assert found.audio_s == 13.0
    assert found.output_bytes == found.windows * (4 * 8 + 24)
    run = PlainRun(corpus, table, "run-1").all()
    assert len(table_rows(table)) == len(expected_rows(corpus)) == found.windows
    assert found.shards == len(run.plan.shards) == 7


def test_it_counts_only_what_is_to_do(corpus, tmp_path):
    table = tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    before = snapshot(table)
    write_audio(corpus / "new.wav", 1.0, seed=77)
    assert preview(corpus, table).counts == {"new": 1, "unchanged": 6, "failed before": 1}
    assert preview(corpus, table).windows == 5
    assert preview(corpus, table, full=True).windows == 5 * 6 + 33
    assert snapshot(table) == before


def test_more_files_are_sampled_with_an_interval(tmp_path, monkeypatch):
    monkeypatch.setattr(previewing, "EXACT_FILES", 20)
    monkeypatch.setattr(previewing, "SAMPLE_FILES", 15)
    corpus = tmp_path / "corpus"
    for number in range(60):
        write_audio(corpus / f"{number}.wav", 0.5 + 0.1 * (number % 20), seed=number)
    found = preview(corpus, tmp_path / "table")
    truth = len(expected_rows(corpus))
    assert found.files == 60
    assert 0 < found.windows_error < 0.2 * truth
    assert abs(found.windows - truth) < 2 * found.windows_error


def test_nothing_to_do(tmp_path):
    (tmp_path / "corpus").mkdir()
    found = preview(tmp_path / "corpus", tmp_path / "table")
    assert (found.files, found.windows, found.shards) == (0, 0, 0)
    assert load_state(TablePaths(str(tmp_path / "table"))).commits == 0


def test_what_is_gone_and_what_has_to_be_rewritten(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "SHARDS_WANTED", 1)
    table = tmp_path / "table"
    PlainRun(corpus, table, "run-1").all()
    assert preview(corpus, table).rewrite_bytes == 0
    (file,) = (table / "windows").glob("*/*.parquet")
    (corpus / "003.wav").unlink()
    found = preview(corpus, table)
    assert (found.gone, found.pruned, found.rewrite_bytes, found.refused) == (1, 0, 0, None)
    found = preview(corpus, table, prune=True)
    assert (found.gone, found.pruned, found.rewrite_bytes) == (1, 1, file.stat().st_size)
    assert found.refused.startswith("--prune would drop 1 of 6 clips (5 of 58 windows)")
    assert preview(corpus, table, Limits(allow_shrink=True), prune=True).refused is None
    assert preview(corpus, table, full=True).rewrite_bytes == file.stat().st_size  # 003.wav stays in it
