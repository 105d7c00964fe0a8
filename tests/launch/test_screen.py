"""What a progress line says."""

import time

import pytest

from l3core.crossval.progress import Progress as Training
from l3core.table.progress import Progress
from launch import screen, words
from launch.crossval_run import describe_training
from launch.screen import describe_embedding, showing_progress


def test_a_line_has_files_rates_and_time_left():
    # a quarter is done after 10 s, so three quarters need 30 s more
    line = describe_embedding(Progress(share=0.25, files=7, windows=100, audio_s=50.0), 10.0)
    assert line == "7 files, 10 windows/s, 5.0 x real time, 30.0 s left"


def test_a_line_of_a_training_has_folds_models_and_time_left():
    progress = Training(share=0.3, folds=1, of=5, running=(("fold2-repeat1", 25, 7),))
    assert describe_training(progress, 60.0) == (
        "1 of 5 folds, fold2-repeat1: epoch 25, 7 models, at most 2.3 min left"
    )
    assert describe_training(Training(0.0, 0, 5, ()), 3.0) == "loading"


def test_before_the_first_window():
    assert describe_embedding(Progress(0.0, 0, 0, 0.0), 3.0) == "loading the model"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (119, "119.0 s"), (120, "2.0 min"), (7200, "2.0 h")]
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (3e12, "3.0 TB")],
)
def test_sizes(count, text):
    assert words.size(count) == text


def test_names_cannot_act_on_a_terminal():
    assert words.printable("a\x1b[31m\n b ü") == "a\\x1b[31m\\x0a b ü"


def test_what_takes_no_longer_shows_nothing(monkeypatch):
    watched = []
    monkeypatch.setattr(screen, "_watch_plain", lambda *args: watched.append(args))
    for after_s, seconds in [(60.0, 0.0), (0.0, 0.2)]:
        with showing_progress(lambda: Progress(0.0, 0, 0, 0.0), str, quiet=False, after_s=after_s):
            time.sleep(seconds)
        assert len(watched) == (after_s == 0.0)
