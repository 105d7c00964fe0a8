"""Choosing AudioSet's segments by rules, and splitting them by video."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.avc.audioset import Segment, read_segments
from l3core.avc.ontology import Ontology, read_ontology
from l3core.avc.rules import Chooser, Rule, read_rules
from l3core.avc.subset import choose, split_videos
from l3core.avc.subset_csv import Times, file_names, read_files, read_named, write_subset
from l3core.errors import UsageError

HEADER = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=2\n"
SUBSET = "ytid,start_s,end_s,labels,split\n"
NAMED = "# YTID, start_seconds, end_seconds, positive_labels\n"
# e has two parents and leads back to a: no tree, and a circle.
ONTOLOGY = Ontology(
    {label: f"Sound {label}" for label in "abcdef"},
    {"a": ("b", "c"), "b": ("d", "e"), "c": ("e",), "d": (), "e": ("a",), "f": ()},
)


def written(tmp_path, content, name="segments.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def chosen(rules, segments, *, children=True):
    chooser = Chooser(rules, ONTOLOGY, children=children)
    return [segment.video for segment in choose(segments, chooser, ONTOLOGY).segments]


def test_the_published_format(tmp_path):
    lines = '--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"\n-x, 30.5, 40, "/m/09x0r"\n'
    expected = [
        Segment("--4gqARaEJE", 0.0, 10.0, ("/m/068hy", "/m/07q6cd_")),
        Segment("-x", 30.5, 40.0, ("/m/09x0r",)),
    ]
    for content in (
        HEADER + NAMED + lines,
        lines,  # without the comments
        "\ufeff" + (HEADER + NAMED + lines).replace("\n", "\r\n"),
        "YTID,start_seconds,end_seconds,positive_labels\n\n" + lines + "\n\n",
        NAMED + lines.replace(", ", ","),
    ):
        assert list(read_segments(written(tmp_path, content))) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<html>\n<body>no</body>", r"line 1: needs 4 fields \(YTID, .*\), got 1"),
        (b"\xff\xfe\x00\x01", "is no CSV in UTF-8"),
        (NAMED + 'abc, 0, 10, "a"\nabc, 0, 10\n', "line 3: needs 4 fields"),
        (NAMED + 'abc, x, 10, "a"\n', "line 2: needs seconds, got 'x'"),
        (NAMED + 'abc, nan, 10, "a"\n', "line 2: needs seconds, got 'nan'"),
        (NAMED + 'abc, 10, 10, "a"\n', "line 2: needs 0 <= start < end, got 10 to 10 s"),
        (NAMED + 'abc, -1, 10, "a"\n', "line 2: needs 0 <= start"),
        (NAMED + '../x, 0, 10, "a"\n', r"line 2: the id of a video .*, got '../x'"),
        (NAMED + ', 0, 10, "a"\n', "line 2: the id of a video"),
        (NAMED + 'abc, 0, 10, "a\n', "line 2: unexpected end of data"),
        (NAMED + "abc, 1e306, 1e307, a\n", "line 2: needs seconds up to 10000000, got '1e306'"),
        (NAMED + "abc, 0, 10000000.001, a\n", "line 2: needs seconds up to 10000000"),
        (NAMED + "abc, 0, inf, a\n", "line 2: needs seconds, got 'inf'"),
        (NAMED + "abc, -inf, 1, a\n", "line 2: needs seconds, got '-inf'"),
        (NAMED + "abc, 0.0001, 0.0004, a\n", "line 2: needs 0 <= start < end"),
        (NAMED + "abc, 0, 10, a\0b\n", "line 2: .*NUL"),
        (NAMED + "a\0bc, 0, 10, a\n", "line 2: .*NUL"),
        (NAMED + f"abc, 0, 10, {'a' * 10**6}\n", "line 2: field larger than field limit"),
        (NAMED + f"{'a' * 10**5}, 0, 10, a\n", "line 2: the id of a video .*, got 'a{40}'$"),
        (NAMED + f"abc, {'1' * 10**5}, 10, a\n", "line 2: needs seconds, got '1{40}'$"),
        (NAMED + "abc, 0, 10" + ",a" * 9997 + "\n", r"line 2: needs 4 fields \(.*\), got 10000"),
        (NAMED.strip() + ",x" * 9996 + "\nabc, 0, 10, a\n", "line 2: needs 10000 fields .*, got 4"),
        ('"' + "\n" * 10**6, r"line \d+: field larger than field limit"),
    ],
)
def test_what_is_no_list_of_segments_is_told_with_its_line(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        list(read_segments(written(tmp_path, content)))


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="there is no such file"):
        list(read_segments(str(tmp_path / "none.csv")))
    with pytest.raises(UsageError, match="is a folder"):
        list(read_segments(str(tmp_path)))


def test_all_below_a_label_shared_children_and_circles_included():
    assert ONTOLOGY.below(["b"]) == set("bdeac")
    assert ONTOLOGY.below(["f"]) == {"f"}
    assert ONTOLOGY.below(["d", "f"]) == {"d", "f"}


def test_a_label_is_found_by_name_or_id_and_a_wrong_one_tells_the_nearest():
    assert ONTOLOGY.find("sound A") == ("a",)
    assert ONTOLOGY.find("a") == ("a",)
    twice = Ontology({"x": "Bell", "y": "bell"}, {})
    assert twice.find("Bell") == ("x", "y")
    with pytest.raises(UsageError, match=r"no label 'Sund f', did you mean 'Sound f'\?"):
        ONTOLOGY.find("Sund f")


def test_an_ontology_is_read_as_published(tmp_path):
    items = [
        {"id": "/m/1", "name": "Animal", "child_ids": ["/m/2"], "restrictions": ["abstract"]},
        {"id": "/m/2", "name": "Dog", "child_ids": []},
    ]
    found = read_ontology(written(tmp_path, json.dumps(items)))
    assert found.names == {"/m/1": "Animal", "/m/2": "Dog"}
    assert found.below(["/m/1"]) == {"/m/1", "/m/2"}
    for wrong in ("[]", "{}", "[1]", "no", '[{"id": 1, "name": "a", "child_ids": []}]', "[" * 10**5):
        with pytest.raises(UsageError, match="is no ontology of AudioSet"):
            read_ontology(written(tmp_path, wrong))
    with pytest.raises(UsageError, match="there is no such file"):
        read_ontology(str(tmp_path / "none.json"))


def test_rules_accept_and_reject_as_the_originals_do():
    segments = [Segment(f"v{label}", 0, 10, (label,)) for label in "abcdef"]
    segments.append(Segment("both", 0, 10, ("d", "f")))
    accept_b = Rule("label", True, False, "Sound b")
    accept_all_below_b = accept_b._replace(with_children=True)
    reject_d = Rule("label", False, False, "Sound d")
    accept_f = Rule("ytid", True, False, "vf")
    assert chosen([accept_b], segments) == ["vb"]
    assert chosen([accept_all_below_b], segments) == ["both", "va", "vb", "vc", "vd", "ve"]
    assert chosen([accept_all_below_b], segments, children=False) == ["vb"]
    assert chosen([accept_all_below_b, reject_d], segments) == ["va", "vb", "vc", "ve"]
    assert chosen([reject_d, accept_b, accept_f], segments) == ["vb", "vf"]
    assert chosen([reject_d], segments) == ["va", "vb", "vc", "ve", "vf"]  # none accepts: all do


def test_each_rule_knows_what_it_matched():
    chooser = Chooser([Rule("label", True, True, "a"), Rule("label", True, False, "d")], ONTOLOGY)
    choose([Segment("x", 0, 1, ("d", "e")), Segment("y", 0, 1, ("e",))], chooser, ONTOLOGY)
    assert chooser.matches == [2, 1]


def test_repeated_segments_are_one_and_unknown_labels_are_counted():
    segments = [
        Segment("x", 0, 10, ("a",)),
        Segment("x", 0, 10, ("b", "a")),
        Segment("x", 20, 30, ("a", "zz")),
        Segment("y", 0, 10, ("zz",)),
    ]
    found = choose(segments, Chooser([Rule("label", True, False, "a")], ONTOLOGY), ONTOLOGY)
    assert found.segments == (Segment("x", 0, 10, ("a", "b")), Segment("x", 20, 30, ("a", "zz")))
    assert (found.seen, found.repeated, found.several, found.unknown) == (4, 1, 1, {"zz": 2})


def test_the_papers_lists():
    music, environmental = read_rules("music"), read_rules("environmental")
    assert len(music) == 110
    assert len(environmental) == 20
    assert all(rule.kind == "label" and rule.accepts for rule in music + environmental)
    assert not any(rule.with_children for rule in music)
    assert all(rule.with_children for rule in environmental)
    assert {"Accordion", "Dental drill, dentist's drill", "Zither"} <= {rule.text for rule in music}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("filter_type,string\nlabel,Bell\n", "lacks the column accept_reject"),
        ("filter_type,accept_reject,string\n", "has no rule"),
        (
            "# ours\nfilter_type,accept_reject,string\n\nlabel,accept,Bell\ntag,accept,Bell\n",
            "line 5: .* label or ytid, got 'tag'",
        ),
        ("filter_type,accept_reject,string\nlabel,yes,Bell\n", "accept or reject, got 'yes'"),
        ("filter_type,accept_reject,string\nlabel,accept\n", "needs a label or an id .*, got none"),
        (
            "filter_type,accept_reject,include_children,string\nlabel,accept,1,Bell\n",
            "true or false, got '1'",
        ),
        (b"\xff\xfe", "is no CSV in UTF-8"),
    ],
)
def test_what_are_no_rules(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        read_rules(written(tmp_path, content))


def test_rules_that_are_not_there():
    with pytest.raises(UsageError, match="musik: needs music, environmental or a file of rules"):
        read_rules("musik")


def test_splits_are_a_tenth_a_tenth_and_the_rest():
    videos = [f"v{number}" for number in range(105)]
    splits = split_videos(videos, seed=1)
    assert Counter(splits.values()) == {"valid": 10, "test": 10, "train": 85}
    assert split_videos(reversed(videos), seed=1) == splits
    assert split_videos(videos * 2, seed=1) == splits
    assert split_videos(videos, seed=2) != splits


def test_one_shuffle_then_valid_test_and_train():
    # CPython's own random.Random(0).shuffle of these ten
    assert split_videos("abcdefghij", seed=0, valid=0.2, test=0.3) == {
        **dict.fromkeys("hi", "valid"),
        **dict.fromkeys("bfd", "test"),
        **dict.fromkeys("acegj", "train"),
    }


@settings(max_examples=50, deadline=None)
@given(st.sets(st.text("abc", min_size=1, max_size=4)), st.integers(0, 3))
def test_every_video_is_in_one_split(videos, seed):
    splits = split_videos(videos, seed=seed)
    assert set(splits) == videos
    counts = Counter(splits.values())
    assert counts["valid"] == counts["test"] == len(videos) // 10


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.1), (float("nan"), 0.1)])
def test_shares_that_leave_nothing_to_train_with(shares):
    with pytest.raises(UsageError, match="need a sum below 1"):
        split_videos("ab", seed=0, valid=shares[0], test=shares[1])


def test_a_subset_is_read_as_it_was_written(tmp_path):
    uri = str(tmp_path / "subset.csv")
    segments = [
        Segment("-a", 0.0, 10.0, ("a", "zz")),
        Segment("b", 1.5, 2.5, ("b",)),
        Segment("b", 20.0, 30.0, ("b",)),
    ]
    write_subset(uri, segments, {"-a": "train", "b": "test"}, ONTOLOGY)
    assert (tmp_path / "subset.csv").read_text() == (
        "ytid,start_s,end_s,labels,split\n"
        "-a,0.000,10.000,Sound a;zz,train\n"
        "b,1.500,2.500,Sound b,test\n"
        "b,20.000,30.000,Sound b,test\n"
    )
    assert [segment[:3] for segment in read_segments(uri)] == [segment[:3] for segment in segments]
    splits, videos = read_files(uri)
    assert splits == {"-a": "train", "b_1500": "test", "b_20000": "test"}
    assert videos == {"-a": "-a", "b_1500": "b", "b_20000": "b"}


def test_blanks_around_what_a_subset_has_count_for_nothing(tmp_path):
    content = f" {SUBSET.replace(',', ' , ')}abc ,0,10,x,train \n"
    assert read_files(written(tmp_path, content)).splits == {"abc": "train"}
    assert read_files(written(tmp_path, SUBSET + "abc ,0,10,x,train\n")).splits == {"abc": "train"}


def test_names_of_labels_may_have_commas(tmp_path):
    speech = Ontology({"s": "Male speech, man speaking"}, {})
    uri = str(tmp_path / "subset.csv")
    write_subset(uri, [Segment("x", 0, 1, ("s",))], {"x": "train"}, speech)
    assert next(read_segments(uri)).labels == ("Male speech, man speaking",)


def test_no_subset(tmp_path):
    for content, message in (
        ("a,b\n1,2\n", "segments.csv line 1: needs 4 fields"),
        (NAMED + "x,0,1,a\n", "is no subset: needs the columns ytid"),
        (SUBSET + "x,0,1,a,dev\n", "line 2: split needs train, valid, test, got 'dev'"),
        (SUBSET + f"x,0,1,a,{'b' * 10**5}\n", "line 2: split needs train, valid, test, got 'b{40}'"),
        (SUBSET + f"x,0,1,a,{'b' * 10**6}\n", "line 2: field larger than field limit"),
        (SUBSET + "x,0,1,a\n", "line 2: needs 5 fields"),
        (SUBSET + "x,1e306,1e307,a,train\n", "line 2: needs seconds up to 10000000"),
        (SUBSET + "x,0,1,a\0,train\n", "line 2: .*NUL"),
        (SUBSET + "x,0,1,a,train\nx,2,3,a,test\n", "line 3: x needs one split, got train and test"),
    ):
        with pytest.raises(UsageError, match=message):
            read_files(written(tmp_path, content))


def test_what_is_fetched_is_of_a_subset_or_of_audiosets_own_lists(tmp_path):
    assert list(read_named(written(tmp_path, NAMED + "x,0,1,a\n"))) == ["x"]
    assert list(read_named(written(tmp_path, SUBSET + "x,0,1,a,train\n"))) == ["x"]
    for content, message in (
        (SUBSET + "x,0,1,a,dev\n", "line 2: split needs train, valid, test, got 'dev'"),
        (SUBSET + "x,0,1,a,train\nx,2,3,a,test\n", "line 3: x needs one split"),
    ):
        with pytest.raises(UsageError, match=message):
            read_named(written(tmp_path, content))


def test_the_name_of_each_file():
    segments = [
        Segment("x", 0, 10, ("a",)),
        Segment("y", 0, 10),
        Segment("y", 0.5, 10),
        Segment("y", 0.5, 12),
        Segment("x", 0, 10, ("b",)),
    ]
    assert file_names(segments) == {
        "x": Times("x", 0, 10),
        "y_0": Times("y", 0, 10),
        "y_500_10000": Times("y", 0.5, 10),
        "y_500_12000": Times("y", 0.5, 12),
    }
    with pytest.raises(UsageError, match="would both have the file y_0"):
        file_names([Segment("y", 0, 1), Segment("y", 2, 3), Segment("y_0", 0, 1)])
