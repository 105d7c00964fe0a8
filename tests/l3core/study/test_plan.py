"""Plans of studies: what a file means, and the line that says what is wrong with it."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.errors import UsageError
from l3core.spec import EmbeddingSpec
from l3core.study.plan import StudyDataset, preset_text, read_plan

ESC10 = '[datasets.esc10]\nroot = "esc"\n'
EDGE = '[[embeddings]]\nmodel = "edgel3-sea-64"\n'


def plan_of(text, **roots):
    return read_plan(text.encode(), "plan.toml", roots)


def test_the_least_plan():
    plan = plan_of(ESC10 + EDGE)
    assert plan.datasets == (StudyDataset(name="esc10", root="esc"),)
    (only,) = plan.embeddings
    assert only.name == only.slug == "edgel3-sea-64"
    assert only.spec == EmbeddingSpec(model="edgel3-sea-64")
    assert plan.protocols == ("clean", "paper")
    assert (plan.seed, plan.epochs, plan.batch_size) == (0, 50, None)


def test_all_that_can_be_said():
    plan = plan_of(
        'title = "Two"\nprotocols = ["paper", "clean"]\nseed = 3\nepochs = 7\nbatch_size = 64\n'
        '[datasets.esc50]\nroot = "esc"\ntable = "features"\nrepeats = 5\nallow_partial = true\n'
        '[[embeddings]]\nname = "Mine"\nmodel = "l3"\nweights = "random:1"\nhop_s = 0.5\n'
        '[[checkpoints]]\nsamples = 262_144\nweights = "epoch1.h5"\navc_accuracy = 0.502\n'
    )
    assert (plan.title, plan.seed, plan.epochs, plan.batch_size) == ("Two", 3, 7, 64)
    assert plan.protocols == ("clean", "paper")
    assert plan.datasets == (
        StudyDataset(name="esc50", root="esc", table="features", repeats=5, allow_partial=True),
    )
    mine, checkpoint = plan.embeddings
    assert mine.name == "Mine"
    assert mine.spec == EmbeddingSpec(model="l3", weights="random:1", hop_s=0.5)
    assert mine.samples is None
    assert checkpoint.name == "l3 mel256 music at 262,144"
    assert (checkpoint.samples, checkpoint.avc_accuracy) == (262_144, 0.502)


def test_a_list_is_a_choice_each():
    plan = plan_of(
        ESC10 + '[[embeddings]]\ninput_repr = ["linear", "mel128"]\nembedding_size = [512, 6144]\n'
    )
    assert [each.name for each in plan.embeddings] == [
        "l3 linear music 512",
        "l3 linear music 6144",
        "l3 mel128 music 512",
        "l3 mel128 music 6144",
    ]
    assert [each.spec.embedding_size for each in plan.embeddings] == [512, 6144, 512, 6144]
    named = plan_of(ESC10 + '[[embeddings]]\nname = "A"\ninput_repr = ["linear", "mel128"]\n')
    assert [each.name for each in named.embeddings] == ["A linear", "A mel128"]


def test_options_of_a_model_can_be_chosen_among_too():
    """Here of a model that there is not, so that any do."""
    entry = '[[embeddings]]\nmodel = "mine"\nmodel_options = [{layer = "a"}, {layer = "b", rate = 1}]\n'
    assert [each.name for each in plan_of(ESC10 + entry).embeddings] == ["mine a", "mine b 1"]


def test_a_list_among_the_options_is_a_choice_each_too():
    options = "model_options = {layer = ['conv7', 'pool5'], rate = ['native', '22050']}\n"
    plan = plan_of(ESC10 + "[[embeddings]]\nmodel = 'soundnet'\n" + options)
    assert [each.name for each in plan.embeddings] == [
        f"soundnet {layer} {rate}" for layer in ("conv7", "pool5") for rate in ("native", "22050")
    ]


def test_a_text_that_begins_with_a_mark_of_its_encoding():
    assert plan_of("\ufeff" + ESC10 + EDGE).embeddings


def test_file_names_of_embeddings_are_short_and_their_own():
    names = ["Grüße", "Gräße", "\U0001f600", "x" * 300, "x" * 301, "../..", "-", "a\nb"]
    entries = [
        f"[[embeddings]]\nmodel = 'fakee'\nname = {json.dumps(name, ensure_ascii=False)}\n"
        for name in names
    ]
    slugs = [each.slug for each in plan_of(ESC10 + "".join(entries)).embeddings]
    assert len(set(slugs)) == len(names)
    for slug in slugs:
        assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,79}", slug)
        assert ".." not in slug


def test_the_plans_of_the_docs_are_plans():
    text = (Path(__file__).parents[3] / "docs/study.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        assert plan_of(block if "[datasets" in block else ESC10 + block).embeddings


def test_roots_of_the_command_come_first():
    assert plan_of(ESC10 + EDGE, esc10="elsewhere").datasets[0].root == "elsewhere"


def test_the_preset_is_the_papers_comparison():
    plan = read_plan(preset_text("paper"), "preset paper", {"esc50": "esc"})
    assert [(each.name, each.repeats, each.root) for each in plan.datasets] == [
        ("urbansound8k", 2, None),
        ("esc50", 5, "esc"),
        ("dcase2013", 1, None),
    ]
    assert [each.name for each in plan.embeddings] == [
        *(f"l3 {how} {what}" for how in ("linear", "mel128", "mel256") for what in ("music", "env")),
        "vggish",
        "soundnet",
    ]
    for each in plan.embeddings[:6]:
        assert (each.spec.embedding_size, each.spec.hop_s, each.spec.grid) == (6144, 0.1, "paper")
        assert (each.spec.weights, each.spec.frontend) == ("published", "as-trained")
    vggish, soundnet = (each.spec for each in plan.embeddings[6:])
    assert (vggish.hop_s, vggish.model_options, vggish.grid) == (0.1, {"variant": "quantised"}, "paper")
    assert soundnet.model_options == {"layer": "conv7", "rate": "native"}


def test_a_model_that_there_is_not_is_kept_with_its_reason():
    """It may be left out, as a cell that says why."""
    (only,) = plan_of(ESC10 + '[[embeddings]]\nmodel = "edgel3-sea-46"\nhop_s = 1\n').embeddings
    assert only.spec is None
    assert only.problem == "there is no model 'edgel3-sea-46', did you mean 'edgel3-sea-64'?"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = ", "is no TOML: Invalid value (at end of document)"),
        ("a = 1\na = 2", "is no TOML: Cannot overwrite a value"),
        ("a" + 3000 * ".a" + " = 1", "its keys are nested too deeply"),
        ("", "needs at least one dataset, as [datasets.esc50]"),
        (ESC10, "needs at least one [[embeddings]] or [[checkpoints]]"),
        (EDGE, "needs at least one dataset, as [datasets.esc50]"),
        ("datasets = 3\n" + EDGE, "needs at least one dataset"),
        ("[datasets]\nesc10 = 3\n" + EDGE, "datasets.esc10 needs a table, got 3"),
        (ESC10 + "[embeddings]\nmodel = 'l3'", "embeddings needs tables, as [[embeddings]]"),
        (ESC10 + "embeddings = [3]", "datasets.esc10: unknown key 'embeddings'; there are root, table"),
        ("embeddings = [3]\n" + ESC10, "embeddings 1 needs a table, got 3"),
        ("tilte = 'x'\n" + ESC10 + EDGE, "unknown key 'tilte', did you mean 'title'?"),
        ("zzz = 1\n" + ESC10 + EDGE, "unknown key 'zzz'; there are title, protocols"),
        ("title = 3\n" + ESC10 + EDGE, "title needs text, got 3"),
        ("protocols = 'clean'\n" + ESC10 + EDGE, "protocols needs a list of clean, paper"),
        ("protocols = []\n" + ESC10 + EDGE, "protocols needs a list"),
        ("protocols = ['claen']\n" + ESC10 + EDGE, "got 'claen', did you mean 'clean'?"),
        ("protocols = [[1]]\n" + ESC10 + EDGE, "protocols must be of clean, paper, got [1]"),
        ("seed = -1\n" + ESC10 + EDGE, "seed needs a whole number from 0 to 4294967295, got -1"),
        ("epochs = 0\n" + ESC10 + EDGE, "epochs needs a whole number from 1"),
        ("epochs = true\n" + ESC10 + EDGE, "epochs needs a whole number from 1 to 10000, got True"),
        ("batch_size = 1.5\n" + ESC10 + EDGE, "batch_size needs a whole number"),
        ("[datasets.esc05]\n" + EDGE, "got 'esc05', did you mean 'esc50'?"),
        (ESC10 + "repeats = 0\n" + EDGE, "datasets.esc10: repeats needs a whole number from 1"),
        (ESC10 + "repeat = 5\n" + EDGE, "datasets.esc10: unknown key 'repeat', did you mean 'repeats'?"),
        (ESC10 + "table = ''\n" + EDGE, "datasets.esc10: table needs text, got ''"),
        (ESC10 + "allow_partial = 1\n" + EDGE, "allow_partial needs true or false, got 1"),
        (ESC10 + EDGE + "hop = 0.5\n", "embeddings 1: unknown key 'hop', did you mean 'hop_s'?"),
        (ESC10 + EDGE + "samples = 3\n", "embeddings 1: unknown key 'samples'"),
        (ESC10 + EDGE + "hop_s = 0\n", "embeddings 1: hop_s: "),
        (ESC10 + EDGE + "hop_s = {a = 1}\n", "embeddings 1: hop_s needs a value, or a list of some"),
        (ESC10 + EDGE + "hop_s = [[1]]\n", "embeddings 1: hop_s needs a value, or a list of some"),
        (ESC10 + EDGE + "hop_s = []\n", "embeddings 1: hop_s needs at least one value, got []"),
        (ESC10 + EDGE + "model_options = 3\n", "embeddings 1: model_options needs a table, got 3"),
        (ESC10 + EDGE + "model_options = {a = 1}\n", "model edgel3-sea-64 has no option 'a'"),
        (ESC10 + EDGE + "content = 'music'\n", "embeddings 1: content: model edgel3-sea-64 has no such"),
        (ESC10 + EDGE + "weights = 'random:x'\n", "embeddings 1: weights: random needs a whole number"),
        (ESC10 + "[[embeddings]]\ninput_repr = 'mel265'\n", "did you mean 'mel256'?"),
        (ESC10 + "[[checkpoints]]\nweights = 'a.h5'\n", "checkpoints 1 needs samples"),
        (ESC10 + "[[checkpoints]]\nsamples = 1\navc_accuracy = 50\n", "a number from 0 to 1, got 50"),
        (ESC10 + "[[checkpoints]]\nsamples = nan\n", "samples needs a number from 0, got nan"),
        (ESC10 + EDGE + EDGE, "the embedding 'edgel3-sea-64' is there twice"),
        (ESC10 + EDGE + EDGE + "hop_s = 1.0", "two embeddings are called 'edgel3-sea-64': give one of"),
        (
            ESC10 + EDGE + "name = 'a'\n" + EDGE + "name = 'A'\nhop_s = 1.0",
            "'A' and 'a' would have the same",
        ),
        (
            ESC10 + "[[embeddings]]\nmodel = 3",
            "embeddings 1: model needs text, or a list of some, got 3",
        ),
        (ESC10 + "[[embeddings]]\nmodel = [['l3']]", "model needs text, or a list of some, got ['l3']"),
        (ESC10 + EDGE + "model_options = {a = []}\n", "model_options needs at least one value, got []"),
        (
            ESC10 + EDGE + "weights = 'a\\u0000b'\n".replace("'", '"'),
            "weights: a text holds a character of",
        ),
        ("seed = " + "9" * 5000 + "\n" + ESC10 + EDGE, "plan.toml"),
        ("seed = 0x1" + "0" * 5000 + "\n" + ESC10 + EDGE, "seed: a number is too large"),
        (ESC10 + f"[[checkpoints]]\nsamples = 1{'0' * 400}\n", "samples: a number is too large"),
        (
            "[datasets.esc10]\nroot = 'https://host/x'\n" + EDGE,
            "datasets.esc10: root needs a disk, gs://",
        ),
        (ESC10 + "table = 'https://host/x'\n" + EDGE, "datasets.esc10: table needs a disk, gs://"),
        (ESC10 + EDGE + EDGE + "name = 'B'\n", "'B' and 'edgel3-sea-64' are the same embedding"),
    ],
)
def test_what_is_wrong_is_a_line(text, problem):
    with pytest.raises(UsageError, match=re.escape(problem)) as caught:
        plan_of(text)
    assert str(caught.value).startswith("plan.toml")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text():
    with pytest.raises(UsageError, match=re.escape("plan.toml is no TOML: 'utf-8' codec")):
        read_plan(b"\xff\xfe", "plan.toml", {})
    with pytest.raises(UsageError, match="is no TOML"):
        read_plan(b"a = " + b"[" * 100_000, "plan.toml", {})


def test_a_root_of_no_dataset_of_the_plan():
    problem = "has no dataset 'esc50', whose root was given, did you mean 'esc10'?; it has esc10"
    with pytest.raises(UsageError, match=re.escape(problem)):
        plan_of(ESC10 + EDGE, esc50="there")


def test_a_preset_that_there_is_not():
    with pytest.raises(UsageError, match=re.escape("must be one of paper, got 'papre', did you mean")):
        preset_text("papre")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_plan_or_a_usage_error(text):
    try:
        problem = plan_of(ESC10 + EDGE + text).title
    except UsageError as error:
        problem = str(error)
    assert problem
    assert "\n" not in problem
