"""What a study asks of its cells, on made-up accuracies."""

import numpy as np
import pytest

from l3core.study.questions import (
    QUESTIONS,
    TESTS,
    ask,
    comparison_rows,
    groups_of,
    pooled_fields,
)
from l3core.study.scores import CELLS, SCORES, cell_rows, rows_to_table, score_rows
from tests.study_cells import BETTER, PAPER, SPECTROGRAMS, cells_of, plan_of

REPRESENTATION, CONTENT, MODEL = QUESTIONS


def clean(cells, dataset=None):
    return [c for c in cells if c.protocol == "clean" and dataset in (None, c.dataset)]


def test_figure_2_pools_contents_and_pairs_each_with_its_own():
    cells = clean(cells_of(plan_of(PAPER)))
    tests = [test for test in ask(REPRESENTATION, cells) if test.dataset == "esc50"]
    assert [(test.first, test.second) for test in tests] == [
        ("linear", "mel128"),
        ("linear", "mel256"),
        ("mel128", "mel256"),
    ]
    for test in tests:
        # five folds, twice, on music and on environmental sound; the accuracies differ by constants
        assert test.result.pairs == 20
        assert test.unpaired == 0
        points = BETTER[test.first] - BETTER[test.second]
        assert (test.result.mean, test.result.median) == pytest.approx((points, points))
        assert test.result.interval == pytest.approx((points, points))
        # twenty ties on one side: z = 105 / sqrt(20 * 21 * 41 / 24 - (20^3 - 20) / 48), as in
        # test_significance.py
        assert test.result.ties
        assert test.result.effect == -1
        assert test.result.p < 0.001


def test_figure_3_pools_representations():
    cells = clean(cells_of(plan_of(PAPER)))
    (test, refused) = ask(CONTENT, cells)
    assert (test.dataset, test.first, test.second) == ("esc50", "music", "env")
    assert test.result.pairs == 30  # five folds, twice, three spectrograms
    # music is behind by 0.008 in odd folds and by 0.004 in even ones; three of five are odd
    assert test.result.mean == pytest.approx(-(3 * 0.008 + 2 * 0.004) / 5)
    assert refused.dataset == "dcase2013"
    assert refused.result.refused.startswith("3 pairs: p could not be less than 0.25")
    assert refused.p_holm is None
    assert test.p_holm == test.result.p  # the refused one is none of the family


def test_figure_5_compares_one_embedding_of_each_model():
    cells = clean(cells_of(plan_of(PAPER)), "esc50")
    groups = groups_of(MODEL, cells)
    assert [(group.level, group.cells[0].embedding.name) for group in groups] == [
        ("l3", "l3 mel256 music"),
        ("edgel3-sea-64", "edgel3-sea-64"),
        ("no <b>such</b> model", "no <b>such</b> model"),
    ]
    assert groups[2].scores == {}
    (test,) = ask(MODEL, cells)
    assert (test.first, test.second, test.result.pairs) == ("l3", "edgel3-sea-64", 10)
    assert test.result.mean == pytest.approx(0.16)


def test_the_order_of_a_plan_changes_no_pair():
    """The paper's script would pair music with env here: content comes in another order for mel256."""
    turned = PAPER.replace(
        'input_repr = ["linear", "mel128", "mel256"]\ncontent = ["music", "env"]',
        'input_repr = ["linear", "mel128"]\ncontent = ["music", "env"]\n'
        '[[embeddings]]\nmodel = "l3"\ninput_repr = "mel256"\ncontent = ["env", "music"]',
    )
    assert turned != PAPER
    one, other = (ask(REPRESENTATION, clean(cells_of(plan_of(text)))) for text in (PAPER, turned))
    assert one == other


def test_a_training_without_a_partner_is_counted_and_left_out():
    cells = clean(cells_of(plan_of(PAPER), missing=("l3 mel128 env",)), "esc50")
    tests = {(test.first, test.second): test for test in ask(REPRESENTATION, cells)}
    assert tests["linear", "mel128"].result.pairs == 10
    assert tests["linear", "mel128"].unpaired == 10
    assert tests["linear", "mel256"].result.pairs == 20


def test_own_weights_are_no_other_choice():
    own = "".join(
        f"[[embeddings]]\ninput_repr = '{each}'\nweights = '{each}.h5'\n" for each in SPECTROGRAMS
    )
    cells = clean(cells_of(plan_of("[datasets.esc50]\nrepeats = 2\n" + own)))
    assert [test.result.pairs for test in ask(REPRESENTATION, cells)] == [10, 10, 10]
    # with two sets of them nobody knows whose partner is whose
    other = "".join(
        f"[[embeddings]]\ninput_repr = '{each}'\nweights = 'b/{each}.h5'\nname = 'b {each}'\n"
        for each in SPECTROGRAMS
    )
    cells = clean(cells_of(plan_of("[datasets.esc50]\nrepeats = 2\n" + own + other)))
    for test in ask(REPRESENTATION, cells):
        assert (test.result.pairs, test.unpaired, test.p_holm) == (0, 40, None)
        assert test.result.refused == "no two trainings share fold, repeat and all other choices"


def test_answers_without_a_common_choice_are_told_and_not_tested():
    text = (
        "[datasets.esc50]\n[[embeddings]]\ninput_repr = 'linear'\ncontent = 'music'\n"
        "[[embeddings]]\ninput_repr = 'mel256'\ncontent = 'env'\n"
    )
    cells = clean(cells_of(plan_of(text)))
    (test,) = ask(REPRESENTATION, cells)
    assert (test.result.pairs, test.unpaired, test.result.p) == (0, 10, None)
    (row,) = rows_to_table(comparison_rows([test]), TESTS).to_pylist()
    assert (row["pairs"], row["mean_difference"], row["low"]) == (0, None, None)


def test_the_embedding_that_stands_for_a_model_is_nearest_to_its_defaults():
    variants = "[[embeddings]]\nmodel = 'vggish'\nmodel_options = {variant = ['quantised', 'raw']}\n"
    sizes = "[[embeddings]]\ninput_repr = ['linear', 'mel256']\nembedding_size = [512, 6144]\n"
    cells = clean(cells_of(plan_of("[datasets.esc50]\n" + variants + sizes), score=noisy))
    assert [group.cells[0].embedding.name for group in groups_of(MODEL, cells)] == [
        "vggish raw",
        "l3 mel256 music 6144",
    ]
    assert pooled_fields(groups_of(REPRESENTATION, cells)) == ["embedding_size"]


def test_untrained_ones_are_paired_by_their_seed():
    text = '[datasets.esc50]\n[[embeddings]]\ninput_repr = ["linear", "mel256"]\nweights = '
    cells = clean(cells_of(plan_of(text + '["random:0", "random:1"]\n')))
    (test,) = ask(REPRESENTATION, cells)
    assert test.result.pairs == 10
    assert test.unpaired == 0


def test_checkpoints_answer_nothing():
    text = "[datasets.esc50]\n[[checkpoints]]\nsamples = 1\n[[checkpoints]]\nsamples = 2\nhop_s = 0.5\n"
    cells = clean(cells_of(plan_of(text)))
    assert [groups_of(question, cells) for question in QUESTIONS] == [[], [], []]


def test_holm_is_within_a_question():
    cells = clean(cells_of(plan_of(PAPER), score=noisy), "esc50")
    tests = ask(REPRESENTATION, cells)
    raw = sorted(test.result.p for test in tests)
    smallest = min(tests, key=lambda test: test.result.p)
    assert smallest.p_holm == pytest.approx(min(1, 3 * raw[0]))
    assert all(test.p_holm >= test.result.p for test in tests)


def noisy(dataset, embedding, fold, repeat):
    generator = np.random.default_rng([fold, repeat, len(embedding.name), *embedding.name.encode()])
    return 0.5 + generator.uniform(0, 0.2)


def test_rows_hold_what_the_paper_reports_beside_ours():
    cells = cells_of(plan_of(PAPER))
    rows = {(row["dataset"], row["embedding"], row["protocol"]): row for row in cell_rows(cells)}
    mine = rows["esc50", "l3 mel256 music", "clean"]
    assert mine["paper_accuracy"] == pytest.approx(0.7982)
    assert mine["paper_difference"] == pytest.approx(mine["mean_accuracy"] - 0.7982)
    assert mine["paper_differs"] == "front end openl3, protocol clean"
    assert rows["esc50", "l3 mel256 music", "paper"]["paper_differs"] == "front end openl3"
    assert rows["esc50", "l3 linear music", "clean"]["paper_accuracy"] is None
    part = cell_rows(cells_of(plan_of(PAPER.replace('"l3"', '"l3"\nhop_s = 0.5')), complete=False))
    differs = {row["paper_differs"] for row in part if row.get("paper_accuracy")}
    assert differs == {
        "front end openl3, hop 0.5 s, a part of the clips",
        "front end openl3, hop 0.5 s, a part of the clips, protocol clean",
    }


def test_tables_hold_every_row():
    plan = plan_of(PAPER)
    cells = cells_of(plan)
    tests = [test for question in QUESTIONS for test in ask(question, clean(cells))]
    scores, all_cells, found = (
        rows_to_table(rows, schema)
        for rows, schema in (
            (score_rows(cells), SCORES),
            (cell_rows(cells), CELLS),
            (comparison_rows(tests), TESTS),
        )
    )
    # seven embeddings that there are, two protocols; ten trainings on ESC-50 and one on DCASE
    assert len(scores) == 7 * 2 * 11
    assert len(all_cells) == 2 * 8 * 2
    assert all_cells["status"].to_pylist().count("missing") == 4
    assert len(found) == len(tests)
    assert found.schema == TESTS
    for row, test in zip(found.to_pylist(), tests):
        assert row["rank_sum_plus"] == test.result.plus
        assert (row["p"] is None) == (row["refused"] is not None)
