"""`l3flow avc inspect`: a page of pairs, for people and in a real browser."""

import base64
import json
import re

import pytest

from l3core.avc.corpus import open_corpus
from launch.main import main
from tests.browser import opened
from tests.pair_corpus import PlainRun, pairs_in, train_only, write_texts

TEXTS = (
    "<script>window.hacked=1<script>.mp4",
    "<img src=x onerror='window.hacked=1'>.mp4",
    "{{ 7 * 7 }}{% raw %}.mp4",
    "\u202egnp.exe\u2066.mp4",
    '" onmouseover="window.hacked=1.mp4',
)


@pytest.fixture
def corpus(tmp_path):
    """Pairs of videos with hostile names, one of them bad."""
    folder = write_texts(tmp_path / "videos", [*TEXTS, "plain.mp4", "bad.mp4"])
    (folder / "bad.mp4").write_text("bad unreadable")
    PlainRun(folder, tmp_path / "corpus", "run-1", split_of=train_only).all()
    return tmp_path / "corpus"


def inspect(corpus, tmp_path, *more):
    return main(
        ["avc", "inspect", "--corpus", str(corpus), "--output", str(tmp_path / "page.html"), *more]
    )


def test_pairs_are_shown_with_their_pictures_and_sounds(corpus, tmp_path, capsys):
    assert inspect(corpus, tmp_path, "--pairs", "12") == 0
    assert "12 pairs of train, " in capsys.readouterr().out
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    pairs = pairs_in(open_corpus(str(corpus)))
    for kind, there in (
        ("image/jpeg", {pair.image for pair in pairs}),
        ("audio/flac", {pair.audio for pair in pairs}),
    ):
        shown = re.findall(f'src="data:{kind};base64,([^"]*)"', html)
        assert len(shown) == 12
        assert {base64.b64decode(each) for each in shown} <= there
    assert html.count("belong together</strong>") == 12
    assert html.count("do not belong together</strong>") == html.count('<div class="pair">') > 0
    assert "plain.mp4" in html


def test_a_seed_draws_the_same(corpus, tmp_path):
    pages = []
    for seed in ("1", "1", "2"):
        assert inspect(corpus, tmp_path, "--pairs", "5", "--seed", seed, "--quiet") == 0
        pages.append((tmp_path / "page.html").read_bytes())
    assert pages[0] == pages[1] != pages[2]


def test_machines_read_what_the_corpus_holds(corpus, tmp_path, capsys):
    assert inspect(corpus, tmp_path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["splits"]["train"] == {
        "files": 1,
        "pairs": 24,
        "positives": 12,
        "bytes": facts["splits"]["train"]["bytes"],
        "videos": 6,
        "fewest_of_a_video": 4,
        "most_of_a_video": 4,
    }
    assert facts["videos"] == {"train": {"ok": 6, "unreadable": 1}}
    assert facts["digest"] == open_corpus(str(corpus)).digest
    assert facts["pairs"] == 24  # as many as there are


def test_hostile_names_are_text(corpus, tmp_path):
    """As any parser of HTML sees them; a browser has its own test."""
    from html.parser import HTMLParser

    assert inspect(corpus, tmp_path, "--quiet") == 0
    seen, texts = set(), []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: seen.update({tag, *(name for name, _ in attrs)})
    parser.handle_data = texts.append
    parser.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert not seen & {"script", "a", "iframe", "onerror", "onmouseover", "onload"}
    assert {"img", "audio", "src", "alt"} <= seen
    shown = "".join(texts)
    assert not {"\u202e", "\u2066"} & {*shown}  # nobody reads a name backwards
    for text in TEXTS:
        assert text.replace("\u202e", "\\u202e").replace("\u2066", "\\u2066") in shown


def test_hostile_names_are_text_in_a_browser_and_the_page_asks_for_nothing(corpus, tmp_path):
    assert inspect(corpus, tmp_path, "--quiet") == 0
    with opened(tmp_path / "page.html") as seen:
        page = seen.page
        assert page.evaluate("window.hacked") is None
        for name in ("script", "a", "iframe", "object", "form", "meta[http-equiv=refresh]"):
            assert page.locator(name).count() == 0, name
        count = page.locator(".pair").count()
        assert page.locator("img").count() == page.locator("audio").count() == count == 24
        handlers = (
            "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
            ".filter(a => a.name.startsWith('on') || /javascript:/i.test(a.value)).length"
        )
        assert page.evaluate(handlers) == 0
        shown = page.locator("body").inner_text()
        assert "{{ 7 * 7 }}{% raw %}.mp4" in shown
        assert "\\u202egnp.exe" in shown  # nobody reads a name backwards
        assert not {"\u202e", "\u2066"} & {*shown}
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth == 224)")
        lengths = page.evaluate(
            "Promise.all([...document.querySelectorAll('audio')].map(a => new Promise(done => {"
            "a.onloadedmetadata = () => done(a.duration); a.onerror = () => done(-1); a.load()})))"
        )
        assert set(lengths) == {1}
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []


def test_a_damaged_file_is_an_error_that_names_it(corpus, tmp_path, capsys):
    (file,) = open_corpus(str(corpus)).files
    content = bytearray((corpus / file.path).read_bytes())
    content[len(content) // 2] ^= 1
    (corpus / file.path).write_bytes(content)
    assert inspect(corpus, tmp_path) == 1
    assert re.search(r"\.tfrecord is damaged: record \d+ does not .*; l3flow", capsys.readouterr().err)
    (corpus / file.path).unlink()
    assert inspect(corpus, tmp_path) == 1
    assert re.search(r"\.tfrecord is missing; l3flow avc sample makes", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--split", "all"], "--split"),
        (["--pairs", "501"], "--pairs needs at most 500, got 501"),
        (["--seed", "-1"], "--seed needs a number of at least 0"),
        (["--corpus", "nowhere"], "no corpus of pairs at nowhere"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(corpus, tmp_path, capsys, more, words):
    try:
        code = inspect(corpus, tmp_path, *more)
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert code == 2
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_an_empty_split_is_a_page_without_pairs(corpus, tmp_path):
    assert inspect(corpus, tmp_path, "--split", "test", "--quiet") == 0
    assert "0 of the test split" in (tmp_path / "page.html").read_text()
