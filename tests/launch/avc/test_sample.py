"""`l3flow avc sample`: from real videos to a corpus, through the whole command."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from l3core.avc.corpus import load_corpus, open_corpus
from l3core.avc.layout import LOCK, CorpusPaths
from l3core.avc.ledger import read_ledger
from l3core.avc.records import decode_audio, decode_image
from l3core.table.lock import holding
from launch.main import main
from tests.pair_corpus import ledger_of, pairs_in, tree, write_videos
from tests.processes import killed_at_end, wait_until
from tests.videos import coded_sound, time_heard, time_shown

REPOSITORY = Path(__file__).parents[3]
SECONDS = 1.3


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Ten videos, one of them under two names, and a text that is called one."""
    folder = write_videos(tmp_path_factory.mktemp("source") / "videos", 10, seconds=SECONDS)
    (folder / "again.mkv").write_bytes((folder / "03.mp4").read_bytes())
    (folder / "text.mp4").write_text("this is no video")
    (folder / "notes.txt").write_text("no video, and not called one")
    return folder


@pytest.fixture
def videos(source, tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for path in source.iterdir():
        os.link(path, folder / path.name)
    return folder


def command(videos, tmp_path, *more):
    places = ["--input", str(videos), "--output", str(tmp_path / "corpus")]
    return ["avc", "sample", *places, "--per-video", "4", *more]


def sample(videos, tmp_path, *more):
    return main(command(videos, tmp_path, *more))


def corpus_at(tmp_path):
    return open_corpus(str(tmp_path / "corpus"))


def refused(capsys, argv):
    """The line of a command that is refused."""
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(main(argv))
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_a_folder_becomes_a_corpus(videos, tmp_path, capsys):
    assert sample(videos, tmp_path) == 0
    said = capsys.readouterr().out
    assert "videos: 12 new; ids are" in said
    assert "unreadable: text.mp4: " in said
    assert "look at it: l3flow avc inspect --corpus" in said
    corpus = corpus_at(tmp_path)
    rows = ledger_of(corpus)
    assert len(rows) == 12
    assert rows["text.mp4"][0] == "unreadable"
    assert rows["03.mp4"][0] in ("ok", "unpaired")
    assert rows["again.mkv"][0] == "duplicate"
    sampled = [name for name, (_, _, has_pairs) in rows.items() if has_pairs]
    pairs = pairs_in(corpus)
    assert len(pairs) == 4 * len(sampled)
    assert sum(pair.label for pair in pairs) == len(pairs) / 2
    for split in ("train", "valid", "test"):
        own = pairs_in(corpus, split)
        for names in ((p.image_video for p in own), (p.audio_video for p in own)):
            assert set(Counter(names).values()) <= {4}
        assert {rows[pair.image_video][1] for pair in own} <= {split}


def test_the_picture_lies_in_the_second_of_its_sound(videos, tmp_path):
    """As picture and sound tell themselves, after codecs, crop and gain."""
    assert sample(videos, tmp_path, "--quiet", "--seed", "3") == 0
    shown = 0
    for pair in pairs_in(corpus_at(tmp_path)):
        number = int(pair.audio_video[:2])
        heard_s = time_heard(decode_audio(pair.audio), coded_sound(SECONDS, seed=number))
        seen_s = time_shown(decode_image(pair.image), pair.box, bool(pair.flipped))
        assert heard_s == pytest.approx(pair.audio_start_us / 1e6, abs=0.003)
        assert seen_s == pytest.approx(pair.image_us / 1e6, abs=0.0015)
        if pair.label:
            assert heard_s - 0.003 <= seen_s < heard_s + 1.003
            shown += 1
    assert shown >= 16


def test_a_second_run_does_nothing_and_new_videos_are_added(videos, tmp_path, capsys):
    assert sample(videos, tmp_path, "--quiet") == 0
    before = tree(tmp_path / "corpus")
    assert sample(videos, tmp_path) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert tree(tmp_path / "corpus") == before
    write_videos(tmp_path / "more", 2, seconds=1.4)
    for path in (tmp_path / "more").iterdir():
        path.rename(videos / f"new {path.name}")
    assert sample(videos, tmp_path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["matched"] == {"new": 2, "unchanged": 12}
    assert (facts["status"], facts["exit_code"], facts["run"]) == ("ok", 0, 2)
    assert facts["total"]["digest"] == corpus_at(tmp_path).digest
    assert len(read_ledger(corpus_at(tmp_path))) == 14


def test_strict_and_pruned(videos, tmp_path, capsys):
    assert sample(videos, tmp_path, "--strict", "--json") == 3
    assert json.loads(capsys.readouterr().out)["status"] == "incomplete"
    assert sample(videos, tmp_path, "--strict", "--quiet") == 3
    (videos / "text.mp4").unlink()
    (videos / "01.mp4").unlink()
    assert sample(videos, tmp_path, "--strict", "--prune", "--quiet") == 0
    assert not {"text.mp4", "01.mp4"} & set(ledger_of(corpus_at(tmp_path)))


def test_what_waits_is_told(videos, tmp_path, capsys):
    assert sample(videos, tmp_path, "--quiet") == 0
    rows = [row for row in read_ledger(corpus_at(tmp_path)).values() if row.split == "train"]
    gone, changed = [videos / row.video_id for row in rows if row.pairs and row.video_id[0] == "0"][:2]
    gone.unlink()
    changed.unlink()
    changed.write_text("another one")
    assert sample(videos, tmp_path) == 0
    said = capsys.readouterr().out
    assert "1 wait with their old pairs" in said
    assert "nothing to do" not in said
    assert corpus_at(tmp_path).runs == 1


def test_a_dry_run_writes_nothing(videos, tmp_path, capsys):
    assert sample(videos, tmp_path, "--dry-run", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(facts["videos"].values()) == 11
    assert facts["pairs_at_most"] == 44
    assert facts["not_sampled"] == [["again.mkv", "duplicate", "the same as '03.mp4'"]]
    assert not (tmp_path / "corpus").exists()


def test_a_subset_says_which_and_where(videos, tmp_path):
    lines = ["ytid,start_s,end_s,labels,split"]
    lines += [f"0{number},0,1,Music,{'train' if number < 3 else 'test'}" for number in range(5)]
    (tmp_path / "subset.csv").write_text("\n".join(lines) + "\n")
    assert sample(videos, tmp_path, "--quiet", "--subset", str(tmp_path / "subset.csv")) == 0
    rows = ledger_of(corpus_at(tmp_path))
    assert {name for name, row in rows.items() if row == ("ok", "train", True)} == {
        f"0{number}.mp4" for number in range(3)
    }
    assert {name for name, row in rows.items() if row == ("ok", "test", True)} == {"03.mp4", "04.mp4"}
    assert rows["again.mkv"] == ("unlisted", None, False)


def test_ids_are_paths_below_the_root(videos, tmp_path, capsys):
    assert sample(videos, tmp_path, "--quiet", "--root", str(tmp_path), "--limit", "2") == 0
    assert set(ledger_of(corpus_at(tmp_path))) == {"videos/00.mp4", "videos/01.mp4"}
    said = refused(capsys, command(videos, tmp_path, "--root", str(videos)))
    assert f"this corpus's root is {tmp_path}" in said
    assert sample(videos, tmp_path, "--quiet", "--limit", "3") == 0
    assert len(ledger_of(corpus_at(tmp_path))) == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--per-video", "6"], "--per-video is 6 here, and the corpus .* was made with 4"),
        (["--seed", "1"], "--seed is 1 here"),
        (["--no-augment"], r"augmentation \(--no-augment\) is False here"),
        (["--per-video", "3"], "--per-video needs an even number"),
        (["--seed", "-1"], "--seed needs a number of at least 0"),
        (["--runner", "dataflow"], "--runner must be one of local, flink, got 'dataflow'"),
        (["--prune", "--limit", "1"], "--prune needs all of the input"),
        (["--subset", "nowhere.csv"], "--subset nowhere.csv: there is no such file"),
        (["--input", "nowhere"], "--input nowhere: there is no "),
        (["--worker", "1"], "unknown option --worker, did you mean --workers"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(source, tmp_path_factory, capsys, more, words):
    import re

    tmp_path = _sampled(source, tmp_path_factory)
    before = tree(tmp_path / "corpus")
    try:
        code = main(command(source, tmp_path, *more))
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert code == 2
    assert re.search(words, said)
    assert said.count("\n") == 1
    assert tree(tmp_path / "corpus") == before


def _sampled(source, factory):
    """A folder with a corpus of two videos, made once."""
    folder = factory.getbasetemp() / "sampled"
    if not folder.exists():
        folder.mkdir()
        assert sample(source, folder, "--limit", "2", "--quiet") == 0
    return folder


def test_nothing_that_matches_is_an_error(tmp_path, capsys):
    (tmp_path / "videos").mkdir()
    assert "matches no file" in refused(capsys, command(tmp_path / "videos", tmp_path))
    assert "is the input, too: name another folder" in refused(
        capsys, command(tmp_path / "corpus", tmp_path)
    )
    assert main(command(tmp_path / "videos", tmp_path, "--allow-empty")) == 0
    assert "nothing to do: there is no video" in capsys.readouterr().out
    assert not (tmp_path / "corpus/runs").exists()


def test_one_run_at_a_time(videos, tmp_path, capsys):
    paths = CorpusPaths(str(tmp_path / "corpus"))
    with holding(paths.locks, LOCK, "another-run"):
        assert sample(videos, tmp_path) == 1
    assert "run another-run" in capsys.readouterr().err
    assert load_corpus(paths.root) is None


def test_a_feature_table_is_no_place_for_pairs(videos, tmp_path, capsys):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/table.json").write_text("{}")
    assert "is a feature table" in refused(capsys, command(videos, tmp_path))


DRIVER = """
import sys
if __name__ == "__main__":
    import l3core.avc.plan
    l3core.avc.plan.videos_a_shard = lambda per_video: 2
    from launch.main import main
    sys.exit(main(sys.argv[1:]))
"""


def test_a_killed_run_leaves_the_corpus_and_the_same_command_goes_on(
    videos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("l3core.avc.plan.videos_a_shard", lambda per_video: 2)
    (tmp_path / "driver.py").write_text(DRIVER)
    part = ["--limit", "8"]
    argv = command(videos, tmp_path, "--workers", "1", "--quiet", *part)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), *argv],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    done = tmp_path / "corpus/_l3flow/staging/done"
    with killed_at_end(process):
        wait_until(lambda: done.exists() and len(list(done.glob("*.json"))) >= 2, 120)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished = {path.stem: path.stat().st_mtime_ns for path in done.glob("*.json")}
    assert finished
    assert load_corpus(str(tmp_path / "corpus")) is None
    assert not (tmp_path / "corpus/records").exists()
    assert sample(videos, tmp_path, "--json", *part) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shards_taken_over"] == len(finished)
    corpus = corpus_at(tmp_path)
    assert {Path(file.path).stem.split("-")[1] for file in corpus.files} >= set(finished)
    (tmp_path / "whole").mkdir()
    assert sample(videos, tmp_path / "whole", "--quiet", *part) == 0
    assert corpus_at(tmp_path / "whole").files == corpus.files
