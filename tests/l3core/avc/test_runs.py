"""Runs of `avc sample` without Beam and without videos: what becomes of a corpus that changes."""

from collections import Counter

import pyarrow.parquet as pq
import pytest

from l3core import storage
from l3core.avc.commit import commit_run
from l3core.avc.comparing import Rules
from l3core.avc.corpus import load_corpus, open_corpus
from l3core.avc.layout import LEDGER_SCHEMA, CorpusSettings
from l3core.avc.ledger import read_ledger
from l3core.avc.plan import completed, read_plan, write_plan
from l3core.errors import DamagedError, RunError, TableError, UsageError
from l3core.listing import parse_input
from l3core.table.failures import Most
from tests.pair_corpus import (
    SETTINGS,
    PlainRun,
    ledger_of,
    pairs_in,
    train_only,
    tree,
    write_texts,
)


@pytest.fixture
def videos(tmp_path):
    return write_texts(tmp_path / "videos", [f"{number:02}.mp4" for number in range(12)])


@pytest.fixture
def run(videos, tmp_path):
    """Makes the next run, all videos of which are for training."""
    numbers = iter(range(1, 99))

    def plan(**wanted):
        given = {"split_of": train_only} | wanted
        return PlainRun(videos, tmp_path / "corpus", f"run-{next(numbers)}", **given)

    return plan


@pytest.fixture
def small_files(monkeypatch):
    """Four videos a file."""
    monkeypatch.setattr("l3core.avc.plan.videos_a_shard", lambda per_video: 4)


def corpus_at(tmp_path):
    return open_corpus(str(tmp_path / "corpus"))


def balanced(corpus, split="train"):
    """Hold that each video gives as many pictures and sounds as any other; the videos."""
    pairs = pairs_in(corpus, split)
    for label in (0, 1):
        own = [pair for pair in pairs if pair.label == label]
        images = Counter(pair.image_video for pair in own)
        assert set(images.values()) <= {2}
        assert Counter(pair.audio_video for pair in own) == images
    for pair in pairs:
        assert (pair.image_video == pair.audio_video) == bool(pair.label)
    return {pair.image_video for pair in pairs}


def test_a_corpus_is_what_its_run_says(run, videos, tmp_path):
    record = run().all()
    corpus = corpus_at(tmp_path)
    assert corpus.settings == SETTINGS.to_json()
    assert balanced(corpus) == {f"{number:02}.mp4" for number in range(12)}
    (file,) = corpus.files
    assert (file.split, file.pairs, file.positives) == ("train", 48, 24)
    assert storage.sha256_of(corpus.uri(file)) == file.sha256
    assert storage.describe(corpus.uri(file)).size_bytes == file.size_bytes
    assert record["videos"] == {"ok": 12}
    assert (record["pairs"], record["positives"]) == (48, 24)
    rows = read_ledger(corpus)
    assert list(rows) == sorted(rows)
    row = rows["03.mp4"]
    assert (row.status, row.split, row.moments, row.pairs) == ("ok", "train", 4, 4)
    assert (row.file, row.fps, row.video_codec, row.run_id) == (file.path, 25.0, "h264", "run-1")
    folder = tmp_path / "corpus"
    assert pq.read_schema(folder / corpus.ledger).equals(LEDGER_SCHEMA)
    there = {file.path, corpus.ledger, "avc.json", "runs/00000001.json"}
    assert set(tree(folder)) == there


def test_the_same_videos_and_seed_give_the_same_pairs(videos, tmp_path):
    for name in ("one", "two"):
        PlainRun(videos, tmp_path / name, f"run-{name}").all()
    one, two = (open_corpus(str(tmp_path / name)) for name in ("one", "two"))
    assert one.files == two.files
    assert one.digest == two.digest
    other = PlainRun(videos, tmp_path / "other", "run", settings=CorpusSettings(per_video=4, seed=1))
    other.all()
    assert open_corpus(str(tmp_path / "other")).digest != one.digest


def test_a_second_run_has_nothing_to_do(run, tmp_path):
    run().all()
    again = run().plan
    assert again.empty
    assert again.counts == {"unchanged": 12}


def test_new_videos_add_to_what_is_there(small_files, run, videos, tmp_path):
    """Few new ones go into a file with the fewest others."""
    run().all()
    before = corpus_at(tmp_path).files
    assert [file.pairs for file in before] == [16] * 3
    write_texts(videos, [f"new {n}.mp4" for n in range(4)], prefix="n")
    plan = run()
    assert plan.plan.counts == {"unchanged": 12, "new": 4}
    plan.all()
    after = corpus_at(tmp_path).files
    assert set(before) < set(after)
    assert [file.pairs for file in after] == [16] * 4
    write_texts(videos, ["last.mp4"], prefix="a last one")
    plan = run()
    assert len(plan.plan.files_removed) == 1
    plan.all()
    assert sum(file.pairs for file in corpus_at(tmp_path).files) == 17 * 4
    assert run().plan.empty


def test_a_changed_video_makes_its_file_anew(small_files, run, videos, tmp_path):
    run().all()
    before = corpus_at(tmp_path)
    old = {pair.image for pair in pairs_in(before) if pair.image_video == "03.mp4"}
    (videos / "03.mp4").write_text("something else")
    plan = run()
    assert plan.plan.counts == {"unchanged": 11, "changed": 1}
    plan.all()
    after = corpus_at(tmp_path)
    assert len(set(before.files) & set(after.files)) == 2
    new = {pair.image for pair in pairs_in(after) if pair.image_video == "03.mp4"}
    assert new
    assert not new & old
    there = {path for path in tree(tmp_path / "corpus") if "records" in path}
    assert there == {file.path for file in (*before.files, *after.files)}


def test_gone_videos_stay_until_they_are_pruned(run, videos, tmp_path):
    run().all()
    before = corpus_at(tmp_path).digest
    (videos / "03.mp4").unlink()
    plan = run().plan
    assert plan.empty
    assert plan.counts == {"unchanged": 11, "gone": 1}
    assert run(rules=Rules(named=None, prune=True)).plan.empty  # a part of the input tells of none
    record = run(prune=True).all()
    assert record["videos_dropped"] == 1
    after = corpus_at(tmp_path)
    assert after.digest != before
    assert "03.mp4" not in balanced(after)
    assert "03.mp4" not in read_ledger(after)
    assert run(prune=True).plan.empty


def test_no_pair_is_lost_without_prune(run, videos, tmp_path):
    """One is gone, one is new, then one changes: the file of the gone one stays."""
    run().all()
    before = corpus_at(tmp_path)
    (videos / "03.mp4").unlink()
    write_texts(videos, ["new.mp4"], prefix="n")
    run().all()
    assert corpus_at(tmp_path).digest == before.digest
    assert ledger_of(corpus_at(tmp_path))["03.mp4"] == ("ok", "train", True)
    assert ledger_of(corpus_at(tmp_path))["new.mp4"] == ("unpaired", "train", False)
    assert run().plan.empty
    (videos / "04.mp4").write_text("something else")
    plan = run().plan
    assert plan.empty
    assert (plan.counts["changed"], plan.counts["waiting"]) == (1, 1)
    run(prune=True).all()
    after = corpus_at(tmp_path)
    assert balanced(after) == {f"{n:02}.mp4" for n in range(12) if n != 3} | {"new.mp4"}
    old = {pair.image for pair in pairs_in(after) if pair.image_video == "04.mp4"}
    assert old
    assert run().plan.empty


@pytest.mark.parametrize("damage", ["removed", "cut off"])
def test_a_file_that_is_lost_is_made_anew(small_files, run, videos, tmp_path, damage):
    """Its pairs are the same again, and those of the other files stay as they are."""
    run().all()
    before = corpus_at(tmp_path)
    lost, *others = before.files
    path = tmp_path / "corpus" / lost.path
    content = path.read_bytes()
    path.unlink()
    if damage == "cut off":
        path.write_bytes(content[:-1])
    plan = run()
    assert plan.plan.counts == {"unchanged": 8, "lost": 4}
    assert plan.plan.files_removed == (lost.path,)
    assert plan.all()["videos"] == {"ok": 4}
    after = corpus_at(tmp_path)
    assert set(others) <= set(after.files)
    (made,) = set(after.files) - set(others)
    assert (tmp_path / "corpus" / made.path).read_bytes() == content
    assert made.sha256 == lost.sha256
    assert run().plan.empty


def test_a_lost_file_of_a_video_that_is_gone_is_made_anew_without_it(run, videos, tmp_path):
    run().all()
    (lost,) = corpus_at(tmp_path).files
    (tmp_path / "corpus" / lost.path).unlink()
    (videos / "03.mp4").unlink()
    (videos / "04.mp4").write_text("something else")  # there are no old pairs to wait with
    plan = run()
    assert plan.plan.counts == {"unchanged": 10, "changed": 1, "gone": 1}
    assert plan.all()["videos"] == {"ok": 11, "vanished": 1}
    assert balanced(corpus_at(tmp_path)) == {f"{n:02}.mp4" for n in range(12) if n != 3}


def test_a_forbidden_video_changes_no_corpus(run, videos, tmp_path):
    """A training that goes on holds the digest against its own."""
    (videos / "bad.mp4").write_text("bad forbidden")
    run().all()
    before = corpus_at(tmp_path)
    record = run().all()
    assert record["videos"] == {"forbidden": 1}
    after = corpus_at(tmp_path)
    assert (after.digest, after.files) == (before.digest, before.files)


def test_what_was_replaced_is_there_until_the_next_run(run, videos, tmp_path):
    """A training that began before can read on."""
    run().all()
    first = corpus_at(tmp_path)
    for number in (3, 4):
        (videos / f"{number:02}.mp4").write_text(f"something else {number}")
        run().all()
        there = {path for path in tree(tmp_path / "corpus") if path.startswith(("records", "videos"))}
        assert {first.files[0].path, first.ledger} <= there or number == 4
        last = corpus_at(tmp_path)
        assert there == {last.files[0].path, last.ledger} | last.before
    assert first.files[0].path not in there


def test_what_workers_read_of_a_plan_has_no_rows(run, tmp_path):
    plan = run(split_of={"01.mp4": "train", "02.mp4": "train"}.get)
    assert len(plan.plan.rows) == 10
    write_plan(plan.paths, plan.planned)
    assert "03.mp4" not in (tmp_path / "corpus/_l3flow/staging/plan.json").read_text()
    assert read_plan(plan.paths) == plan.plan._replace(rows=(), dropped=())
    assert completed(plan.paths, read_plan(plan.paths)) == plan.plan


def test_segments_of_one_video_are_no_wrong_pair(run, videos, tmp_path):
    def group_of(video_id):
        return str(int(video_id[:2]) // 5)  # 0-4, 5-9, 10 and 11

    run(group_of=group_of).all()
    pairs = pairs_in(corpus_at(tmp_path))
    assert len(pairs) == 48
    for pair in pairs:
        if not pair.label:
            assert group_of(pair.image_video) != group_of(pair.audio_video)
    balanced(corpus_at(tmp_path))


def test_bad_videos_are_rows(run, videos, tmp_path):
    for number, status in enumerate(("unreadable", "no-audio", "silent")):
        (videos / f"{number:02}.mp4").write_text(f"bad {status} {number}")
    record = run().all()
    assert record["videos"] == {"ok": 9, "unreadable": 1, "no-audio": 1, "silent": 1}
    corpus = corpus_at(tmp_path)
    assert len(balanced(corpus)) == 9
    row = read_ledger(corpus)["01.mp4"]
    assert (row.status, row.error, row.pairs, row.file) == ("no-audio", "it says so", 0, None)
    assert run().plan.empty
    retried = run(retry_unreadable=True).plan
    assert retried.counts == {"unchanged": 9, "tried again": 3}


def test_what_may_pass_is_tried_again(run, videos, tmp_path):
    (videos / "00.mp4").write_text("bad storage-error")
    run().all()
    assert ledger_of(corpus_at(tmp_path))["00.mp4"][0] == "storage-error"
    assert run().plan.counts == {"unchanged": 11, "tried again": 1}


def test_too_many_errors_of_the_store_fail_the_run(run, videos, tmp_path):
    for number in range(3):
        (videos / f"{number:02}.mp4").write_text(f"bad storage-error {number}")
    plan = run()
    write_plan(plan.paths, plan.planned)
    plan.sample()
    with pytest.raises(RunError, match=r"could not be read from their store: 3, and .* allows 2"):
        commit_run(plan.paths, plan.run_id, info={}, most_storage_errors=Most(0.0, 2))
    assert load_corpus(plan.paths.root) is None
    assert run().plan.todo  # its shard is not taken over


def test_a_video_under_another_name_is_a_row(run, videos, tmp_path):
    (videos / "00 a copy.mp4").write_bytes((videos / "05.mp4").read_bytes())
    run().all()
    rows = read_ledger(corpus_at(tmp_path))
    assert (rows["00 a copy.mp4"].status, rows["05.mp4"].status) == ("ok", "duplicate")
    assert rows["05.mp4"].error == "the same as '00 a copy.mp4'"
    assert rows["05.mp4"].checksum == rows["00 a copy.mp4"].checksum is not None
    assert run().plan.empty
    # without the first one it is a video again
    (videos / "00 a copy.mp4").unlink()
    run(prune=True).all()
    assert ledger_of(corpus_at(tmp_path))["05.mp4"] == ("ok", "train", True)
    # what is there stays the first
    (videos / "00 copy.mp4").write_bytes((videos / "05.mp4").read_bytes())
    run().all()
    assert ledger_of(corpus_at(tmp_path))["00 copy.mp4"] == ("duplicate", "train", False)
    assert ledger_of(corpus_at(tmp_path))["05.mp4"] == ("ok", "train", True)


def test_a_bad_video_under_two_names_is_not_tried_twice(run, videos, tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (videos / name).write_text("bad silent")
    run().all()
    rows = ledger_of(corpus_at(tmp_path))
    assert (rows["a.mp4"][0], rows["b.mp4"][0]) == ("silent", "duplicate")
    assert run().plan.empty


def test_splits_do_not_share_a_video(videos, tmp_path):
    write_texts(videos, [f"more {n}.mp4" for n in range(60)], prefix="m")
    PlainRun(videos, tmp_path / "corpus", "run-1").all()
    corpus = corpus_at(tmp_path)
    found = [balanced(corpus, split) for split in ("train", "valid", "test")]
    assert all(found)
    assert sum(map(len, found)) == len(set().union(*found)) == 72
    for name, (_, split, _) in ledger_of(corpus).items():
        assert name in found[("train", "valid", "test").index(split)]


def test_who_is_alone_has_no_pairs_until_there_is_another(run, videos, tmp_path):
    for path in videos.iterdir():
        if path.name != "07.mp4":
            path.unlink()
    record = run().all()
    assert record["videos"] == {"unpaired": 1}
    corpus = corpus_at(tmp_path)
    assert corpus.files == ()
    assert ledger_of(corpus) == {"07.mp4": ("unpaired", "train", False)}
    assert run().plan.empty
    write_texts(videos, ["new.mp4"], prefix="n")
    run().all()
    assert balanced(corpus_at(tmp_path)) == {"07.mp4", "new.mp4"}
    assert run().plan.empty


def test_what_is_not_in_the_subset_is_a_row(run, tmp_path):
    splits = {"01.mp4": "train", "02.mp4": "train", "03.mp4": "train"}
    run(split_of=splits.get).all()
    counts = Counter(status for status, _, _ in ledger_of(corpus_at(tmp_path)).values())
    assert counts == {"ok": 3, "unlisted": 9}
    assert run(split_of=splits.get).plan.empty
    splits |= {"04.mp4": "train", "03.mp4": "test", "05.mp4": "test"}
    del splits["01.mp4"]
    run(split_of=splits.get).all()
    corpus = corpus_at(tmp_path)
    assert balanced(corpus, "train") == {"02.mp4", "04.mp4"}
    assert balanced(corpus, "test") == {"03.mp4", "05.mp4"}
    assert run(split_of=splits.get).plan.empty


def test_what_a_list_names_and_is_not_there_is_a_row(run, videos, tmp_path):
    (tmp_path / "list.txt").write_text("\n".join(str(videos / f"{n:02}.mp4") for n in (1, 2, 99)))
    inputs = [parse_input(f"@{tmp_path / 'list.txt'}")]
    run(inputs=inputs).all()
    assert ledger_of(corpus_at(tmp_path))["99.mp4"] == ("vanished", None, False)
    assert run(inputs=inputs).plan.empty
    assert run(inputs=inputs, prune=True).plan.empty


def test_finished_shards_of_a_dead_run_are_taken_over(small_files, run, videos, tmp_path):
    dead = run()
    write_plan(dead.paths, dead.planned)
    dead.sample(dead.plan.todo[:2])
    assert load_corpus(dead.paths.root) is None
    (videos / "new.mp4").write_text("it came in between")
    plan = run()
    assert Counter(shard.finished for shard in plan.plan.shards) == {True: 2, False: 1}
    assert sum(shard.videos for shard in plan.plan.shards) == 13
    before = {path: content for path, content in tree(tmp_path / "corpus").items() if "records" in path}
    record = plan.all()
    assert record["videos"] == {"ok": 13}
    after = tree(tmp_path / "corpus")
    assert set(before.values()) < set(after.values())
    assert len(balanced(corpus_at(tmp_path))) == 13
    assert not any("staging" in path for path in after)


def test_of_a_dead_run_nothing_is_taken_that_has_changed(run, videos, tmp_path):
    dead = run()
    write_plan(dead.paths, dead.planned)
    dead.sample()
    (videos / "03.mp4").write_text("something else")
    plan = run()
    assert [shard.finished for shard in plan.plan.shards] == [False]
    plan.all()
    assert set(tree(tmp_path / "corpus")) == {
        *(file.path for file in corpus_at(tmp_path).files),
        *("avc.json", "runs/00000001.json", corpus_at(tmp_path).ledger),
    }


class Killed(BaseException):
    """As if the process had ended."""


@pytest.mark.parametrize("step", range(1, 12))
def test_killed_at_any_step_of_the_commit(small_files, run, videos, tmp_path, monkeypatch, step):
    """The corpus is as before or as after, and the same command goes on to the same end."""
    run().all()
    (videos / "04.mp4").write_text("it has left something to remove")
    run().all()
    before = corpus_at(tmp_path).digest
    (videos / "03.mp4").write_text("something else")
    plan = run()
    write_plan(plan.paths, plan.planned)
    plan.sample()
    left = step

    def killing(original):
        def wrapped(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return original(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("move", "create", "write_bytes", "remove", "remove_folder", "writing"):
            patch.setattr(storage, name, killing(getattr(storage, name)))
        try:
            plan.commit()
        except Killed:
            pass
        else:
            assert step > 6
    found = corpus_at(tmp_path)
    assert found.digest == before or found.runs == 3
    for file in found.files:
        assert storage.sha256_of(found.uri(file)) == file.sha256
    again = run()
    if found.runs == 2:
        assert again.plan.todo == []
        again.all()
    else:
        assert again.plan.empty
    after = corpus_at(tmp_path)
    assert (after.runs, len(after.files)) == (3, 3)
    assert {pair.image_video for pair in pairs_in(after)} == {f"{n:02}.mp4" for n in range(12)}


def test_two_commits_do_not_both_happen(run, videos, tmp_path):
    first, second = run(), run()
    write_plan(first.paths, first.planned)
    first.sample()
    first.commit()
    assert first.commit()["run_id"] == "run-1"  # a runner tries again
    write_plan(second.paths, second.planned)
    second.sample()
    with pytest.raises(RunError, match="another run has committed"):
        second.commit()


def test_who_was_taken_over_does_not_commit(run, tmp_path):
    """Another run has planned since, as one does that finds the lock of a dead one."""
    silent, other = run(), run()
    write_plan(silent.paths, silent.planned)
    silent.sample()
    write_plan(other.paths, other.planned)
    with pytest.raises(RunError, match="another run"):
        silent.commit()
    assert load_corpus(silent.paths.root) is None
    other.sample()
    assert other.commit()["run_id"] == "run-2"


def test_a_shard_that_is_missing_fails_the_run(run):
    plan = run()
    write_plan(plan.paths, plan.planned)
    with pytest.raises(RunError, match="was not sampled"):
        plan.commit()
    assert load_corpus(plan.paths.root) is None


def test_pairs_that_were_cut_off_fail_the_run(run, tmp_path):
    plan = run()
    write_plan(plan.paths, plan.planned)
    plan.sample()
    (staged,) = (tmp_path / "corpus/_l3flow/staging/records").iterdir()
    staged.write_bytes(staged.read_bytes()[:-1])
    with pytest.raises(RunError, match="bytes, its manifest says"):
        plan.commit()
    assert load_corpus(plan.paths.root) is None


def test_no_corpus_is_an_error_that_says_so(tmp_path):
    with pytest.raises(
        TableError, match=r"no corpus of pairs at .*nowhere: l3flow avc sample makes one"
    ):
        open_corpus(str(tmp_path / "nowhere"))


def test_a_damaged_history_is_an_error(run, tmp_path):
    run().all()
    record = tmp_path / "corpus/runs/00000001.json"
    good = record.read_text()
    for bad, words in (("{", "no JSON"), ("{}", "no record of a run"), ("[]", "no JSON object")):
        record.write_text(bad)
        with pytest.raises(TableError, match=words):
            corpus_at(tmp_path)
    record.write_text(good.replace('"layout": 1', '"layout": 9'))
    with pytest.raises(TableError, match="corpus layout 9, this l3flow knows 1"):
        corpus_at(tmp_path)
    record.write_text(good.replace("records/split=train/", "../../"))
    with pytest.raises(TableError, match="leads out"):
        corpus_at(tmp_path).uri(corpus_at(tmp_path).files[0])
    record.rename(tmp_path / "corpus/runs/00000002.json")
    with pytest.raises(TableError, match=r"run 1 of .* is missing"):
        corpus_at(tmp_path)


def test_a_damaged_ledger_is_an_error(run, tmp_path):
    run().all()
    ledger = tmp_path / "corpus" / corpus_at(tmp_path).ledger
    ledger.write_bytes(ledger.read_bytes()[:100])
    with pytest.raises(DamagedError, match=r"videos/.*\.parquet cannot be read"):
        read_ledger(corpus_at(tmp_path))


def test_settings_that_cannot_be():
    for number in (5, 0, 1026):
        with pytest.raises(
            UsageError, match=rf"--per-video needs an even number up to 1024, .* {number}"
        ):
            CorpusSettings(per_video=number)
    assert CorpusSettings(per_video=1024).per_video == 1024
    with pytest.raises(UsageError, match="--seed needs a number of at least 0"):
        CorpusSettings(seed=-1)


def test_a_corpus_in_a_store(videos):
    PlainRun(videos, "memory://avc-corpus", "run-1").all()
    corpus = open_corpus("memory://avc-corpus")
    assert sum(file.pairs for file in corpus.files) == len(pairs_in(corpus)) > 0
    assert PlainRun(videos, "memory://avc-corpus", "run-2").plan.empty
