"""`l3flow avc subset`: lists of segments and an ontology -> a subset with splits."""

import csv
import json

import fsspec
import pytest

from launch.main import main

ONTOLOGY = [
    {"id": "/m/v", "name": "Vehicle", "child_ids": ["/m/c", "/m/t"]},
    {"id": "/m/c", "name": "Car, motor", "child_ids": []},
    {"id": "/m/t", "name": "Train", "child_ids": []},
    {"id": "/m/s", "name": "Speech", "child_ids": []},
]
RULES = "filter_type,accept_reject,include_children,string\nlabel,accept,true,vehicle\n"


@pytest.fixture
def place(tmp_path):
    """A folder with 40 segments: 10 of each kind."""
    (tmp_path / "ontology.json").write_text(json.dumps(ONTOLOGY))
    (tmp_path / "rules.csv").write_text(RULES)
    lines = ["# a", "# b", "# YTID, start_seconds, end_seconds, positive_labels"]
    for number in range(40):
        lines.append(f'-{number:02d}, 0.000, 10.000, "{ONTOLOGY[number % 4]["id"]}"')
    (tmp_path / "segments.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def said(place, capsys, *flags, code=0, **others):
    given = {name: str(place / file) for name, file in FILES.items()} | others
    named = [part for name, value in given.items() for part in (f"--{name}", value)]
    assert main(["avc", "subset", *named, *flags]) == code
    return capsys.readouterr()


FILES = {
    "segments": "segments.csv",
    "ontology": "ontology.json",
    "rules": "rules.csv",
    "output": "subset.csv",
}


def test_children_are_included_and_splits_are_by_video(place, capsys):
    told = said(place, capsys)
    assert told.err == ""
    assert told.out.splitlines() == [
        f"{place}/subset.csv: 30 of 40 segments, 30 videos",
        "videos by split: train 24, valid 3, test 3",
        "1 rules, 0 of them matched nothing; most (all with --json):",
        "        30 accept vehicle",
    ]
    with open(place / "subset.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ytid"] for row in rows] == [f"-{n:02d}" for n in range(40) if n % 4 != 3]
    assert {row["labels"] for row in rows} == {"Vehicle", "Car, motor", "Train"}


def test_the_originals_children_have_no_effect(place, capsys):
    facts = json.loads(said(place, capsys, "--children", "as-published", "--json").out)
    assert (facts["segments_seen"], facts["videos"], facts["paper_videos"]) == (40, 10, None)
    assert facts["splits"] == {"train": 8, "valid": 1, "test": 1}
    assert facts["by_rule"] == [
        {
            "kind": "label",
            "accepts": True,
            "include_children": True,
            "string": "vehicle",
            "segments": 10,
        }
    ]


def test_the_seed_makes_the_split(place, capsys):
    written = []
    for seed in ("1", "1", "2"):
        assert said(place, capsys, "--seed", seed, "--quiet").out == ""
        written.append((place / "subset.csv").read_bytes())
    assert written[0] == written[1] != written[2]


def test_the_same_list_twice_and_stores(place, capsys):
    fs = fsspec.filesystem("memory")
    fs.pipe("/subsets/in.csv", (place / "segments.csv").read_bytes())
    flags = ["--segments", str(place / "segments.csv")]
    uris = {"segments": "memory://subsets/in.csv", "output": "memory://subsets/out.csv"}
    facts = json.loads(said(place, capsys, *flags, "--json", **uris).out)
    assert (facts["segments_seen"], facts["segments"], facts["repeated"]) == (80, 30, 30)
    assert len(fs.cat("/subsets/out.csv").splitlines()) == 31
    fs.rm("/subsets", recursive=True)


def test_the_papers_rules_need_the_labels_of_its_ontology(place, capsys):
    told = said(place, capsys, rules="music", code=2)
    assert told.err.startswith("l3flow: --rules the ontology has no label 'Accordion', did you mean ")
    assert not (place / "subset.csv").exists()


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"segments": "none.csv"}, "l3flow: --segments none.csv: there is no such file"),
        ({"ontology": "none.json"}, "l3flow: --ontology none.json: there is no such file"),
        ({"output": "https://example.org/x.csv"}, "l3flow: --output needs a disk, gs:// or s3://"),
        ({"seed": "x"}, "l3flow avc subset: argument --seed: needs a whole number, got 'x'"),
        ({"valid-share": "0.9", "test-share": "0.1"}, "l3flow: shares that validate and test need"),
        ({"children": "some"}, "l3flow avc subset: argument --children: invalid choice: 'some'"),
    ],
)
def test_wrong_use_is_one_line(place, capsys, others, message):
    err = said(place, capsys, code=2, **others).err
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_nothing_to_choose_from(place, capsys):
    (place / "empty.csv").write_text("# YTID, start_seconds, end_seconds, positive_labels\n")
    told = said(place, capsys, segments=str(place / "empty.csv"), code=2)
    assert "empty.csv: no segment in it" in told.err
    (place / "other.csv").write_text('x, 0, 10, "/m/s"\n')
    told = said(place, capsys, segments=str(place / "other.csv"), code=2)
    assert "choose none of 1 segments" in told.err
