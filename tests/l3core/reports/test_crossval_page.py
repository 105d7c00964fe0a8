"""The report of a cross-validation, looked at in a real browser."""

import base64
import io

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from l3core.crossval.finish import finish
from l3core.crossval.folds import train_fold
from l3core.crossval.plan import CrossvalPlan, Fold, OutputPaths
from l3core.crossval.results import write_fold
from l3core.datasets import LabelledClip
from l3core.spec import EmbeddingSpec
from l3core.table.read import ClipVectors
from tests.browser import opened

EVIL = "<script>document.title='broken'</script>"
CLASSES = ("dog & <b>cat</b>", EVIL, "rain $x^2$")


def finished(folder, *, protocol="clean", clips_a_class=12):
    """A cross-validation of two folds on noise, so that clips are mistaken, with names like HTML."""
    generator = np.random.default_rng(0)
    clips = []
    for label in CLASSES:
        for number in range(clips_a_class):
            path = folder / f"{number} {CLASSES.index(label)} <i>'\"%20#?.wav"
            soundfile.write(path, generator.uniform(-0.5, 0.5, 8000), 8000)
            clips.append(LabelledClip(str(path), label, number % 2 + 1, f"{label}{number}"))
    clips[0] = clips[0]._replace(uri="gs://bucket/elsewhere.wav")
    spec = EmbeddingSpec(model="l3", weights="published")
    plan = CrossvalPlan(
        dataset="esc50",
        classes=CLASSES,
        clips=tuple(clips),
        clip_ids=tuple(f"{EVIL}{clip.uri.rpartition('/')[2]}" for clip in clips),
        table=f"/tables/{EVIL}",
        fingerprint="s0123456789abcdef",
        embedding={"spec": spec.to_dict(), "weights": "w", "weights_digest": "d"},
        content="c",
        protocol=protocol,
        seed=0,
        batch_size=32,
        epochs=3,
        folds=("fold1-repeat1", "fold2-repeat1"),
        facts={
            "dataset_title": "Made up",
            "dataset_root": str(folder),
            "published_clips": 40,
            "subset": None,
            "complete": False,
            "differences": [f"4 missing: {EVIL}"],
            "shared_sources": {EVIL: [1, 2]},
        },
    )
    vectors = generator.standard_normal((3 * len(clips), 8)).astype(np.float32)
    features = ClipVectors(vectors, np.repeat(np.arange(len(clips)), 3))
    paths = OutputPaths(str(folder / "out"))
    for name in plan.folds:
        result = train_fold(plan, features, Fold.from_name(name))
        write_fold(paths, plan, result, features.clips)
    return folder / "out/report.html", finish(paths, plan)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("report"))


def test_it_renders_without_a_complaint_and_without_a_network(report):
    path, summary = report
    with opened(path) as seen:
        page = seen.page
        assert page.title() == "Made up: cross-validation"
        text = page.inner_text("body")
        assert f"{100 * summary['mean_accuracy']:.1f} %" in text
        assert "the paper: 79.8 %" in text
        assert "36 of 40 (a part)" in text
        for heading in ("Accuracy by fold", "Confusion", "Classes", "Hardest clips", "Training"):
            assert page.locator("h2", has_text=heading).count() == 1
        sizes = page.evaluate(
            "[...document.querySelectorAll('svg')].map(e => [e.clientWidth, e.clientHeight])"
        )
        assert len(sizes) == 3
        assert all(width > 300 and height > 100 for width, height in sizes)
        # nothing is wider than the page
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []


def test_names_stay_text(report):
    with opened(report[0]) as seen:
        assert seen.page.title() == "Made up: cross-validation"
        assert seen.page.locator("script").count() == 0
        assert seen.page.locator("b, i").count() == 0
        for cell in (EVIL, "dog & <b>cat</b>", "rain $x^2$"):
            assert seen.page.locator("td", has_text=cell).count() >= 1
        charts = " ".join(seen.page.locator("svg").all_text_contents())
        for label in CLASSES:
            assert label in charts


def test_a_hard_clip_plays_where_its_file_is_here(report):
    with opened(report[0]) as seen:
        players = seen.page.locator("audio")
        assert players.count() >= 5
        seconds = players.first.evaluate(
            """player => new Promise((done, failed) => {
                player.onloadedmetadata = () => done(player.duration);
                player.onerror = () => failed(player.error.message);
                player.load();
                player.preload = 'metadata';
            })"""
        )
        assert seconds == pytest.approx(1.0)
        assert seen.complaints == []


def test_it_prints(report):
    """In black on white, with all of its charts, and no player that nobody can press."""
    with opened(report[0]) as seen:
        seen.page.emulate_media(media="print")
        assert not seen.page.locator("audio").first.is_visible()
        assert seen.page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("vision", ["deuteranopia", "protanopia", "achromatopsia"])
def test_the_colours_are_told_apart_by_everybody(report, vision):
    """The lines of the two folds, and the ends of the confusion's scale, as other eyes see them."""
    with opened(report[0]) as seen:
        session = seen.page.context.new_cdp_session(seen.page)
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
        shots = [
            imread(
                io.BytesIO(
                    base64.b64decode(
                        session.send(
                            "Page.captureScreenshot",
                            {"clip": box | {"scale": 1}, "captureBeyondViewport": True},
                        )["data"]
                    )
                )
            )
            for box in (seen.page.locator("svg").nth(number).bounding_box() for number in (0, 1))
        ]
    for shot in shots:
        levels = shot[..., :3].mean(axis=2)
        assert levels.max() - levels.min() > 0.6  # light and dark say what the colours say


def test_a_leaky_protocol_is_said_to_be_one(tmp_path):
    path, _ = finished(tmp_path, protocol="paper")
    with opened(path) as seen:
        assert "Leaky validation" in seen.page.inner_text(".warning")
