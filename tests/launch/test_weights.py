"""`l3flow weights`: what there is, checking it, and writing it to files that embed the same."""

import json

import numpy as np
import pytest

from l3core import published
from l3core.models import MODELS
from l3core.weights import load_weights, read_h5
from launch.main import main
from tests.corpus import FLAGS, SPEC, table_rows, write_files

NAMES = sorted(name for model in MODELS.values() for name in model.weight_files())
BUNDLED = "edgel3-sea-64"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; nothing here may reach the network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("L3FLOW_WEIGHTS_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(published, "ATTEMPTS", 1)
    return published.cache_dir()


def ask(capsys, *argv):
    """The JSON answer of a command that succeeds."""
    assert main(["weights", *argv, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def refused(capsys, *argv, code):
    assert main(["weights", *map(str, argv)]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_list(capsys):
    rows = ask(capsys, "list")
    assert sorted(row["name"] for row in rows) == NAMES
    states = {row["name"]: row["state"] for row in rows}
    bundled = [name for name, state in states.items() if state == "included"]
    assert len(bundled) == 1
    assert set(states.values()) == {"included", "not fetched"}
    assert all(row["licence"] and row["trained_on"] for row in rows)
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == len(NAMES)
    assert all(name in out for name in NAMES)


def a_published_file():
    return next(
        (name, file) for name, file in MODELS["l3"].weight_files().items() if name.startswith("mel256")
    )


def test_verify_finds_what_is_damaged(capsys, cache):
    name, file = a_published_file()
    assert {row["state"] for row in ask(capsys, "verify")} == {"included", "not fetched"}
    cache.mkdir(parents=True)
    (cache / file.name).write_bytes(b"not what was published")
    line = refused(capsys, "verify", "--quiet", code=1)
    assert f"damaged: {name};" in line
    assert f"weights fetch {name}" in line
    others = [one for one in NAMES if one != name]
    assert main(["weights", "verify", *others, "--quiet"]) == 0  # only those that are named
    assert {row["name"]: row["state"] for row in ask(capsys, "list")}[name] == "damaged"


def test_verify_knows_whole_files(capsys, cache, monkeypatch):
    name, file = a_published_file()
    content = b"as published"
    renamed = file._replace(git_blob_sha1=published.git_blob_sha1(content))
    monkeypatch.setattr(type(MODELS["l3"]), "weight_files", lambda _: {name: renamed})
    cache.mkdir(parents=True)
    (cache / file.name).write_bytes(content)
    capsys.readouterr()
    assert ask(capsys, "verify", name)[0]["state"] == "cached"
    assert ask(capsys, "fetch", name) == [{"name": name, "path": str(cache / file.name)}]


def test_fetching_without_a_network_says_what_to_put_where(capsys, cache):
    name, file = a_published_file()
    assert main(["weights", "fetch", name, "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"http://127.0.0.1:9/{file.name}" in err
    assert str(cache / file.name) in err


@pytest.mark.parametrize(("model", "code"), [("soundnet", 1), ("soundnetz", 2), ("edgel3-sea-64", 0)])
def test_fetching_all_of_a_model(capsys, cache, monkeypatch, model, code):
    monkeypatch.delenv("L3FLOW_WEIGHTS_URL", raising=False)
    assert main(["weights", "fetch", "--model", model]) == code
    said = "".join(capsys.readouterr())
    expected = {0: "sea-64: included, ", 1: "sound8.npy can be fetched by hand", 2: "got 'soundnetz'"}
    assert expected[code] in said
    assert "linear-env" not in said


def test_there_is_nothing_to_fetch_of_a_model_that_nobody_publishes(capsys, cache, tmp_path):
    line = refused(capsys, "fetch", "--model", "l3-narrow", code=2)
    assert "nobody publishes weights of --model l3-narrow" in line
    line = refused(capsys, "export", tmp_path / "w.h5", "--model", "l3-narrow", code=2)
    assert "--weights needs a file of `l3flow avc export`, or random:SEED" in line
    assert not cache.exists()


def test_unknown_names(capsys):
    for action in ("fetch", "verify"):
        line = refused(capsys, action, "nosuch", code=2)
        assert "'nosuch'" in line
        assert all(name in line for name in NAMES)


def test_wrong_use(capsys):
    line = refused(capsys, "lisst", code=2)
    assert "lisst" in line
    assert "list" in line
    assert "did you mean --quiet?" in refused(capsys, "list", "--qiet", code=2)
    assert "--qui" in refused(capsys, "list", "--qui", code=2)  # no abbreviations
    assert "FILE.h5" in refused(capsys, "export", code=2)
    assert "FILE.h5" in refused(capsys, "export", "a.h5", "b.h5", code=2)
    assert refused(capsys, code=2)


def test_export_is_what_was_loaded(capsys, tmp_path):
    path = tmp_path / "out/exported.h5"
    answer = ask(capsys, "export", str(path), *FLAGS)
    weights = load_weights(SPEC)
    assert answer == {"path": str(path), "weights": "random:0", "digest": weights.digest}
    found = read_h5(path.read_bytes(), SPEC.network.layer_shapes(SPEC), name="exported")
    for ours, theirs in zip(found, weights.tensors, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_exported_weights_are_the_same_spec(tmp_path):
    """The fingerprint is over the tensors: a file and the seed that it was made of are one partition."""
    corpus, table, path = write_files(tmp_path / "corpus", 2), tmp_path / "table", tmp_path / "w.h5"
    assert main(["weights", "export", str(path), *FLAGS, "--quiet"]) == 0
    embed = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    assert main([*embed, "--weights", str(path)]) == 0
    rows = table_rows(table)
    assert main(embed) == 0
    assert len(list((table / "windows").iterdir())) == 1
    assert table_rows(table) == rows


def test_weights_of_another_model_are_refused(capsys, tmp_path):
    path = tmp_path / "w.h5"
    assert main(["weights", "export", str(path), *FLAGS, "--quiet"]) == 0
    corpus = write_files(tmp_path / "corpus", 1)
    argv = [
        "embed",
        "--input",
        corpus,
        "--output",
        tmp_path / "t",
        "--model",
        BUNDLED,
        "--weights",
        path,
    ]
    assert main(list(map(str, argv))) in (1, 2)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(path) in err
    assert "layers" in err
    assert not (tmp_path / "t").exists()
