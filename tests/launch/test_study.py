"""`l3flow study` from audio to tables, on copies of the datasets in their true layout."""

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from l3core.spec import EmbeddingSpec
from l3core.storage_options import CONFIGURED, configured
from l3core.study.opening import open_study
from l3core.study.plan import read_plan
from launch import embed
from launch.main import main
from launch.options import spec_of
from launch.study_embed import flags_of
from tests.dataset_trees import esc50_rows, write_dcase2013, write_esc50

REPOSITORY = Path(__file__).parents[2]
CLASSES = ("dog", "rain", "rooster")
FAKE = '[[embeddings]]\nmodel = "fake"\nengine = "fake"\nweights = "random:0"\n'


def sound_of(path, label):
    """A second of noise whose loudness goes up and down as its class wants."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng([label, *path.name.encode()])
    shape = np.random.default_rng(label).uniform(0.1, 1, 8) + generator.uniform(0, 1, 8)
    levels = np.repeat(np.tile(shape / 2, 4), 125)  # a window of the fake model: 1000 samples at 4 kHz
    soundfile.write(path, 0.5 * levels * generator.uniform(-1, 1, 4000), 4000)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Three classes of ESC-10, and DCASE 2013."""
    folder = tmp_path_factory.mktemp("corpora")
    rows = esc50_rows(CLASSES)
    write_esc50(folder / "esc", rows=rows, write=lambda path: sound_of(path, len(path.stem) % 3))
    write_dcase2013(folder / "dcase", write=lambda path: sound_of(path, len(path.stem)))
    return folder


def plan_file(corpora, folder, embeddings, *, datasets=("esc10",), top="epochs = 2\n"):
    """A plan; each of ESC-10's folds is trained twice."""
    tables = {
        "esc10": f"[datasets.esc10]\nroot = '{corpora}/esc'\nallow_partial = true\nrepeats = 2\n",
        "dcase2013": f"[datasets.dcase2013]\nroot = '{corpora}/dcase'\n",
    }
    folder.mkdir(exist_ok=True)
    path = folder / "plan.toml"
    path.write_text(top + "".join(tables[name] for name in datasets) + embeddings)
    return str(path)


def once_each(plan):
    """The same plan with a training of each fold."""
    path = Path(plan)
    path.write_text(path.read_text().replace("repeats = 2", "repeats = 1"))
    return plan


TWO_HOPS = FAKE + "hop_s = [0.25, 0.5]\n"


@pytest.fixture(scope="module")
def made(corpora, tmp_path_factory):
    """(plan, output) of a finished study of a dataset with one fold, in which a model is missing."""
    folder = tmp_path_factory.mktemp("study")
    others = '[[embeddings]]\nmodel = ["edgel3-sea-64", "fakee"]\nhop_s = 1.0\n'
    plan = plan_file(corpora, folder, TWO_HOPS + others, datasets=("dcase2013",))
    assert main(["study", plan, "--output", f"{folder}/out", "--skip-missing", "--quiet"]) == 0
    return plan, folder / "out"


def times(output, pattern="cells/**/done.json"):
    return {
        path.relative_to(output).as_posix(): path.stat().st_mtime_ns for path in output.glob(pattern)
    }


def test_every_training_is_a_row(made):
    _, output = made
    rows = pq.read_table(output / "scores.parquet").to_pylist()
    assert [(row["embedding"], row["protocol"], row["fold"], row["repeat"]) for row in rows] == [
        (name, protocol, 2, 1)
        for name in ("fake 0.25", "fake 0.5", "edgel3-sea-64")
        for protocol in ("clean", "paper")
    ]
    for row in rows:
        folder = output / "cells/dcase2013" / row["embedding"].replace(" ", "-") / row["protocol"]
        predictions = pq.read_table(folder / "predictions.parquet").to_pylist()
        hits = [each["true_label"] == each["predicted_label"] for each in predictions]
        assert row["accuracy"] == pytest.approx(np.mean(hits))
        assert row["clips"] == len(hits) == 100


def test_cells_have_means_and_what_is_missing_has_its_reason(made):
    _, output = made
    cells = pq.read_table(output / "cells.parquet").to_pylist()
    assert len(cells) == 4 * 2
    scores = pq.read_table(output / "scores.parquet").to_pylist()
    for cell in cells:
        key = [cell[name] for name in ("embedding", "protocol")]
        mine = [each["accuracy"] for each in scores if [each["embedding"], each["protocol"]] == key]
        if cell["embedding"] == "fakee":
            assert cell["status"] == "missing"
            assert cell["reason"] == "there is no model 'fakee', did you mean 'fake'?"
            assert mine == []
            continue
        assert cell["status"] == "ok"
        assert [cell["mean_accuracy"]] == mine
        assert cell["deviation"] is None  # of one training
        assert (cell["trainings"], cell["complete"], cell["clips"]) == (1, True, 200)
        assert cell["leaky_validation"] == (cell["protocol"] == "paper")
        assert cell["embedding_s"] > 0
        assert cell["training_s"] > 0


def test_a_test_on_one_pair_is_refused(made):
    _, output = made
    tests = pq.read_table(output / "tests.parquet").to_pylist()
    assert [(each["question"], each["protocol"], each["first"], each["second"]) for each in tests] == [
        ("model", protocol, "fake", "edgel3-sea-64") for protocol in ("clean", "paper")
    ]
    for each in tests:
        assert each["pairs"] == 1
        assert each["p"] is None
        assert each["p_holm"] is None
        assert "one pair" in each["refused"]


def test_csv_says_the_same(made):
    _, output = made
    for name in ("scores", "cells", "tests"):
        table = pq.read_table(output / f"{name}.parquet")
        with (output / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(table)
        assert list(rows[0]) == table.column_names
    with (output / "scores.csv").open(newline="", encoding="utf-8") as file:
        accuracies = [float(row["accuracy"]) for row in csv.DictReader(file)]
    assert accuracies == pq.read_table(output / "scores.parquet")["accuracy"].to_pylist()


def test_a_cell_is_what_crossval_makes(made, corpora, tmp_path):
    _, output = made
    cell = output / "cells/dcase2013/fake-0.25/clean"
    fingerprint = json.loads((cell / "summary.json").read_bytes())["fingerprint"]
    command = [
        *("crossval", "--dataset", "dcase2013", "--dataset-root", f"{corpora}/dcase"),
        *("--table", f"{output}/tables/dcase2013", "--spec", fingerprint, "--epochs", "2"),
        *("--output", f"{tmp_path}/alone", "--quiet"),
    ]
    assert main(command) == 0
    assert (cell / "report.html").is_file()
    one, other = (pq.read_table(each / "predictions.parquet") for each in (cell, tmp_path / "alone"))
    assert one.equals(other)


def test_again_nothing_is_embedded_or_trained(made, capsys):
    plan, output = made
    before = times(output), times(output, "tables/**/*.parquet")
    assert main(["study", plan, "--output", str(output), "--skip-missing"]) == 0
    said = capsys.readouterr().out
    assert said.count("embedded before") == 3
    assert "dcase2013, fakee: left out: there is no model 'fakee'" in said
    assert (times(output), times(output, "tables/**/*.parquet")) == before


def test_more_of_a_plan_is_only_what_is_new(corpora, tmp_path, capsys):
    """A training of each of five folds, tested in pairs once there is something to compare with."""
    output = tmp_path / "out"
    clean = "epochs = 1\nprotocols = ['clean']\n"
    once = once_each(plan_file(corpora, tmp_path / "a", FAKE, top=clean))
    assert main(["study", once, "--output", str(output), "--quiet"]) == 0
    before = times(output)
    assert len(before) == 5
    assert len(pq.read_table(output / "tests.parquet")) == 0
    edge = '[[embeddings]]\nmodel = "edgel3-sea-64"\nhop_s = 1.0\n'
    more = once_each(plan_file(corpora, tmp_path / "b", FAKE + edge, top=clean))
    assert main(["study", more, "--output", str(output), "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(part["embedding"], part["files"], part["trainings"]) for part in facts["parts"]] == [
        ("fake", 0, 0),
        ("edgel3-sea-64", 120, 5),
    ]
    assert main(["study", more, "--output", str(output), "--quiet"]) == 0
    after = times(output)
    assert len(after) == 10
    assert before.items() < after.items()
    (test,) = pq.read_table(output / "tests.parquet").to_pylist()
    scores = pq.read_table(output / "scores.parquet").to_pylist()
    by_hand = [
        one["accuracy"] - other["accuracy"]
        for one in scores
        for other in scores
        if (one["fold"], one["repeat"]) == (other["fold"], other["repeat"])
        and (one["model"], other["model"]) == ("fake", "edgel3-sea-64")
    ]
    assert (test["first"], test["second"]) == ("fake", "edgel3-sea-64")
    assert test["pairs"] == len(by_hand) == 5
    assert test["unpaired"] == 0
    assert test["mean_difference"] == pytest.approx(np.mean(by_hand))


def test_a_dry_run_says_what_it_takes_and_writes_nothing(corpora, tmp_path, capsys):
    plan = plan_file(corpora, tmp_path, TWO_HOPS)
    flags = ["study", plan, "--output", str(tmp_path / "out"), "--dry-run"]
    assert main(flags) == 0
    said = capsys.readouterr().out
    # a second has five windows at a hop of 0.25 s and three at 0.5 s, and 120 clips have 960
    assert "esc10, fake 0.25: 600 windows from 2.0 min of audio" in said
    assert "together: 960 windows, 4.0 min of audio" in said
    assert "40 trainings" in said
    assert "time: about" in said
    assert not (tmp_path / "out").exists()
    assert main([*flags, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["windows"] == 960
    assert facts["trainings"] == 40
    assert facts["output_bytes"] == 960 * (8 * 4 + 24)
    assert facts["fits"]
    assert facts["training_s_at_most"] > 0


def test_what_is_done_needs_no_memory(made, capsys):
    plan, output = made
    flags = ["study", plan, "--output", str(output), "--skip-missing", "--workers", "4"]
    assert main([*flags, "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["trainings"], facts["memory_bytes"], facts["fits"]) == (0, 0, True)


def test_what_embedding_took_adds_up(corpora, tmp_path):
    shutil.copytree(corpora / "esc", tmp_path / "own/esc")
    plan = plan_file(tmp_path / "own", tmp_path, FAKE, top="epochs = 1\nprotocols = ['clean']\n")
    flags = ["study", once_each(plan), "--output", str(tmp_path / "out"), "--quiet"]
    assert main(flags) == 0
    (facts,) = (tmp_path / "out").glob("_study/embedded/esc10/*.json")
    facts.write_text(json.dumps(json.loads(facts.read_bytes()) | {"seconds": 1000.0}))
    assert main(flags) == 0  # nothing to do
    assert json.loads(facts.read_bytes())["seconds"] == 1000
    clip = next((tmp_path / "own/esc").glob("**/*.wav"))
    sound_of(clip, 1)
    clip.write_bytes(clip.read_bytes() + b"LIST\x04\0\0\0test")
    assert main(flags) == 0
    (cell,) = pq.read_table(tmp_path / "out/cells.parquet").to_pylist()
    assert 1000 < cell["embedding_s"] < 1500


def test_a_dataset_and_an_embedding_may_have_one_name(corpora, tmp_path, capsys):
    named = FAKE.replace("[[embeddings]]", '[[embeddings]]\nname = "dcase2013"')
    text = Path(plan_file(corpora, tmp_path, named)).read_text() + "[datasets.dcase2013]\n"
    opened = open_study(read_plan(text.encode(), "p", {}), skip_missing=True)
    assert [part.dataset.name for part in opened.there] == ["esc10"]
    assert "nobody has said where DCASE 2013" in opened.missing[0].reason


def test_weights_that_cannot_be_read_or_fetched_are_cells_that_are_missing(
    corpora, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("L3FLOW_WEIGHTS_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("l3core.published.ATTEMPTS", 1)
    others = f"[[embeddings]]\nweights = '{300 * 'w'}.h5'\nhop_s = 1.0\n"
    plan = plan_file(corpora, tmp_path / "a", FAKE + others)
    flags = ["--output", str(tmp_path / "out"), "--dry-run"]
    refused(capsys, ["study", plan, *flags], "File name too long")
    assert main(["study", plan, *flags, "--skip-missing"]) == 0
    assert "left out: " in capsys.readouterr().out
    plan = plan_file(corpora, tmp_path / "b", FAKE + "[[embeddings]]\nmodel = 'vggish'\n")
    refused(capsys, ["study", plan, *flags], "could not fetch", code=1)  # no wrong use


def test_options_of_stores_are_kept_while_it_embeds(corpora, tmp_path, monkeypatch):
    monkeypatch.setenv(CONFIGURED, "{}")
    plan = plan_file(corpora, tmp_path, FAKE, top="epochs = 1\nprotocols = ['clean']\n")
    flags = ["study", plan, "--output", str(tmp_path / "out"), "--storage-option", "timeout=7"]
    assert main([*flags, "--dry-run", "--quiet"]) == 0
    assert configured() == {"timeout": "7"}
    monkeypatch.setattr("launch.study_run.plan_cell", stop)
    with pytest.raises(ZeroDivisionError, match="embedded"):
        main([*flags, "--quiet"])
    assert configured() == {"timeout": "7"}


def stop(*_):
    raise ZeroDivisionError("embedded, and no more")


def test_json_is_the_facts(made, capsys):
    plan, output = made
    assert main(["study", plan, "--output", str(output), "--skip-missing", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.pop("output") == str(output)
    assert [said.pop(name) for name in ("status", "exit_code", "message")] == ["ok", 0, ""]
    assert said == json.loads((output / "study.json").read_bytes())


WITH_THE_FAKE = (
    "import sys; from tests import fake_model; from launch.main import run; fake_model.register(); run()"
)


def test_an_interrupted_study_goes_on(corpora, tmp_path, capsys):
    """A real process, two cells side by side: what is trained when it is stopped stays trained."""
    output, table = tmp_path / "out", tmp_path / "table"
    clips = ["--input", f"{corpora}/esc/**/*.wav", "--output", str(table), "--quiet"]
    assert main(["embed", *clips, "--model", "fake", "--engine", "fake", "--weights", "random:0"]) == 0
    plan = once_each(plan_file(corpora, tmp_path, f"table = '{table}'\n{FAKE}", top="epochs = 15\n"))
    study = ["study", plan, "--output", str(output)]
    run = [sys.executable, "-c", WITH_THE_FAKE, *study, "--workers", "2"]
    with subprocess.Popen(
        run, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 600
        while not times(output) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=300)
    assert process.returncode == 130, error
    done = times(output)
    assert 1 <= len(done) < 10
    assert f"interrupted; {len(done)} of 10 trainings are done" in error.splitlines()[-1]
    assert not (output / "study.json").exists()
    assert main(study) == 0
    assert capsys.readouterr().out.count("embedded before") == 1
    assert len(times(output)) == 10
    assert done.items() <= times(output).items()
    cells = json.loads((output / "study.json").read_bytes())["cells"]
    assert [cell["trainings"] for cell in cells] == [5, 5]


@pytest.mark.parametrize(
    "spec",
    [
        EmbeddingSpec(weights="-a b.h5", input_repr="linear", hop_s=1 / 3, frontend="as-trained"),
        EmbeddingSpec(model="soundnet", model_options={"layer": "pool5", "rate": "22050"}),
        EmbeddingSpec(model="vggish", precision="mixed_bfloat16", model_options={"variant": "pca"}),
    ],
    ids=lambda spec: spec.model,
)
def test_flags_of_a_spec_mean_it(spec):
    argv = ["--input", "x", "--output", "y", *flags_of(spec)]
    assert spec_of(embed.check(argv, embed.build_parser("embed")).args) == spec


def refused(capsys, arguments, part, code=2):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert part in error
    assert error.count("\n") == 1, error


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ([], "needs either a PLAN.toml or --preset"),
        (["plan.toml", "--preset", "paper"], "needs either a PLAN.toml or --preset"),
        (["nowhere.toml"], "no plan at nowhere.toml"),
        (["--preset", "papre"], "--preset must be one of paper, got 'papre', did you mean 'paper'?"),
        (["--preset", "paper", "--dataset-root", "esc5=x"], "no dataset 'esc5', whose root was given"),
        (["--preset", "paper", "--dataset-root", "esc50"], "--dataset-root: needs KEY=VALUE"),
        (["--preset", "paper", "--wrkers", "2"], "did you mean --workers?"),
        (["--preset", "paper", "--workers", "0"], "--workers"),
        (["https://host/plan.toml", "more"], "more"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, capsys, flags, part):
    arguments = ["study", *flags, "--output", str(tmp_path / "out")]
    try:
        refused(capsys, arguments, part)
    finally:
        assert not (tmp_path / "out").exists()


def test_what_is_missing_is_told_with_what_to_do(corpora, tmp_path, capsys):
    out = ["--output", str(tmp_path / "out")]
    everything = ["study", "--preset", "paper", *out]
    refused(
        capsys,
        everything,
        "48 of 48 cells cannot be made, the first is urbansound8k, l3 linear music: "
        "nobody has said where UrbanSound8K is: give --dataset-root urbansound8k=URI; get it: ",
    )
    refused(capsys, [*everything, "--skip-missing"], "48 of 48 cells cannot be made")  # nothing is left
    nowhere = plan_file(tmp_path / "no", tmp_path, FAKE)
    refused(capsys, ["study", nowhere, *out], f"{tmp_path}/no/esc is no folder")
    part = Path(plan_file(corpora, tmp_path, FAKE))
    part.write_text(part.read_text().replace("allow_partial = true", ""))
    refused(capsys, ["study", str(part), *out], "Give allow_partial = true to use what is there")
    weights = FAKE + '[[embeddings]]\nmodel = "edgel3-sea-64"\nweights = "no.h5"\n'
    plan = plan_file(corpora, tmp_path, weights)
    refused(
        capsys,
        ["study", plan, *out],
        "2 of 4 cells cannot be made, the first is esc10, edgel3-sea-64: no weights file at no.h5; "
        "weights takes 'published', random:SEED, or a path or URI: model edgel3-sea-64 reads an .h5",
    )
    refused(capsys, ["study", plan, *out], "; --skip-missing leaves them out, and says why")
    assert not (tmp_path / "out").exists()


def test_a_clip_that_cannot_be_read_is_told_with_its_cell(corpora, tmp_path, capsys):
    shutil.copytree(corpora / "dcase", tmp_path / "dcase")
    next((tmp_path / "dcase").rglob("*.wav")).write_bytes(b"garbage")
    plan = plan_file(tmp_path, tmp_path, FAKE, datasets=("dcase2013",))
    refused(
        capsys,
        ["study", plan, "--output", str(tmp_path / "out"), "--quiet"],
        "dcase2013, fake: the table has no windows of 1 of 200 clips: ",
    )
    refused(
        capsys,
        ["study", plan, "--output", str(tmp_path / "out"), "--quiet"],
        "or give allow_partial = true to do without",
    )


def test_a_fold_that_is_not_there_is_told_before_anything_is_embedded(corpora, tmp_path, capsys):
    shutil.copytree(corpora / "esc", tmp_path / "esc")
    for clip in (tmp_path / "esc").rglob("5-*.wav"):
        clip.unlink()
    study = ["study", plan_file(tmp_path, tmp_path, FAKE), "--output", str(tmp_path / "out")]
    problem = f"esc10, fake: fold 5 has no clips below {tmp_path}/esc: a study needs all folds"
    refused(capsys, study, problem)
    assert not (tmp_path / "out").exists()


def test_it_is_told_whose_weights_are_looked_for(corpora, tmp_path):
    """They may have to be fetched, which takes a while."""
    plan = read_plan(Path(plan_file(corpora, tmp_path, TWO_HOPS)).read_bytes(), "plan", {})
    looked: list[str] = []
    assert len(open_study(plan, skip_missing=False, looking=looked.append).there) == 2
    assert looked == ["fake 0.25", "fake 0.5"]


def test_an_output_that_cannot_be_is_one_line(made, corpora, tmp_path, capsys):
    _, output = made
    plan = plan_file(corpora, tmp_path, FAKE)
    (tmp_path / "file").touch()
    refused(capsys, ["study", plan, "--output", str(tmp_path / "file")], "is a file; the results need")
    refused(capsys, ["study", plan, "--output", str(tmp_path / "file/below")], "cannot write there")
    table = output / "tables/dcase2013"
    refused(capsys, ["study", plan, "--output", str(table)], f"--output {table} is a feature table")
    refused(capsys, ["study", plan, "--output", "https://host/x"], "--output needs a disk, gs://")


def test_a_table_that_cannot_be_is_told_before_anything_is_written(corpora, tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "out"
    for table, problem in {
        tmp_path / "file": f"datasets.esc10: table {tmp_path}/file is a file, and needs a folder",
        out: f"datasets.esc10: table {out} is the --output; name another",
    }.items():
        plan = plan_file(corpora, tmp_path, f"table = '{table}'\n{FAKE}")
        refused(capsys, ["study", plan, "--output", str(out)], problem)
    assert not out.exists()


def test_without_an_output_a_preset_is_printed(capsys):
    assert main(["study", "--preset", "paper"]) == 0
    said = capsys.readouterr().out
    assert said == (REPOSITORY / "l3core/study/presets/paper.toml").read_text(encoding="utf-8")
