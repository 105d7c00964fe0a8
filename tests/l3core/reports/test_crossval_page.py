"""The report of a cross-validation, looked at in a real browser."""

import base64
import io
import re

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


def finished(folder, *, protocol="clean", clips_a_class=12, repeats=1):
    """A cross-validation of two folds on noise, so that clips are mistaken, with names like HTML."""
    folds = [Fold(fold, repeat) for fold in (1, 2) for repeat in range(1, repeats + 1)]
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
    for fold in folds:
        result = train_fold(plan, features, fold)
        write_fold(paths, plan, result, features.clips)
    return folder / "out/report.html", finish(paths, plan, [fold.name for fold in folds])


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
        assert "the paper:" not in text  # it tells nothing of a part of the clips
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
    """With all of its charts within the paper, and no player that nobody can press."""
    with opened(report[0]) as seen:
        seen.page.set_viewport_size({"width": 718, "height": 1000})  # A4 less its margins
        seen.page.emulate_media(media="print")
        assert not seen.page.locator("audio").first.is_visible()
        boxes = [chart.bounding_box() for chart in seen.page.locator("svg").all()]
        assert len(boxes) == 3
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= 718 for box in boxes)
        assert seen.page.pdf().startswith(b"%PDF")


def colours_seen(seen, colours, vision):
    """Colours of the page as other eyes see them: swatches of them, rendered and looked at."""
    page = seen.page
    page.evaluate(
        """colours => {
            const place = document.createElement('div');
            place.style.cssText = 'position:absolute;left:0;top:0;z-index:9';
            place.innerHTML = colours.map(
                c => `<div style="width:40px;height:40px;background:${c}"></div>`).join('');
            document.body.append(place);
        }""",
        colours,
    )
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setEmulatedVisionDeficiency", {"type": vision})
    box = {"x": 0, "y": 0, "width": 40, "height": 40 * len(colours), "scale": 1}
    shot = session.send("Page.captureScreenshot", {"clip": box})["data"]
    pixels = imread(io.BytesIO(base64.b64decode(shot)))
    return [255 * pixels[40 * number + 20, 20, :3] for number in range(len(colours))]


@pytest.mark.parametrize("vision", ["none", "deuteranopia", "protanopia", "tritanopia", "achromatopsia"])
def test_everybody_tells_the_lines_and_the_cells_apart(report, vision):
    with opened(report[0]) as seen:
        lines = seen.page.evaluate(
            """[...document.querySelectorAll('svg')].at(-1).querySelectorAll('path').values()
                .map(p => p.style).filter(s => s.strokeWidth == '1.5').map(s => s.stroke).toArray()"""
        )
        cells = seen.page.evaluate(
            """[...document.querySelectorAll('svg')[1].querySelectorAll('path')]
                .map(p => p.style).filter(s => s.strokeWidth == '0.3').map(s => s.fill)"""
        )
        lines = list(dict.fromkeys(lines))
        assert len(lines) == 2  # a colour for each fold
        assert len(set(cells)) > 2
        levels = sorted(set(cells), key=lambda cell: sum(map(int, re.findall(r"\d+", cell))))
        found = colours_seen(seen, [*lines, levels[0], levels[-1]], vision)
    for one, other in (found[:2], found[2:]):
        assert np.abs(one - other).max() > 40  # of 255, in some channel


def test_repeats_are_told_as_one_clip_each(tmp_path):
    path, summary = finished(tmp_path, repeats=3)
    assert summary["tested_clips"] == 36
    with opened(path) as seen:
        rows = seen.page.locator("section", has_text="most often taken for").locator("tbody tr")
        assert [row.split("\t")[1] for row in rows.all_inner_texts()] == ["12", "12", "12"]
        hardest = seen.page.locator("section", has_text="Hardest clips").locator("tbody tr")
        names = [row.split("\t")[0] for row in hardest.all_inner_texts()]
        assert len(set(names)) == len(names)
        assert "the mean of 3 trainings" in seen.page.inner_text("body")
        assert seen.complaints == []


def test_a_leaky_protocol_is_said_to_be_one(tmp_path):
    path, _ = finished(tmp_path, protocol="paper")
    with opened(path) as seen:
        assert "Leaky validation" in seen.page.inner_text(".warning")
