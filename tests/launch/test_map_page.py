"""The page of `l3flow map` in a real browser: seen, pointed at, clicked on and listened to."""

import json

import numpy as np
import pytest

from l3core.maps.columns import column_of
from l3core.maps.placing import Placed
from l3core.reports.map import map_page
from launch.main import main
from tests.browser import opened
from tests.corpus import write_audio
from tests.maps import data_of, make_table


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return make_table(tmp_path_factory.mktemp("map"))


@pytest.fixture(scope="module")
def page(table):
    output = table.parent / "map.html"
    assert main(["map", "--table", str(table), "--output", str(output), "--quiet"]) == 0
    return output


COLOURED = """() => {  // colour -> places of pixels within points: all around them is as they are
    const canvas = document.getElementById('map'), pen = canvas.getContext('2d');
    const { width, height } = canvas;
    const pixels = new Uint32Array(pen.getImageData(0, 0, width, height).data.buffer);
    const found = {};
    for (let n = width; n < pixels.length - width; n++) {
        const own = pixels[n];
        if (own >>> 24 > 220 && [-width, -1, 1, width].every(by => pixels[n + by] === own))
            (found[own] ||= []).push([n % width, Math.floor(n / width)]);
    }
    return found;
}"""


LENGTH = """player => new Promise((done, failed) => {
        const look = () => {
            if (player.error) failed(player.error.message);
            else if (player.readyState) done(player.duration);
            else setTimeout(look, 10);
        };
        look();
    })"""
COVERED = """() => {
    const canvas = document.getElementById('map'), pen = canvas.getContext('2d');
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, n) => n % 4 === 3 && value).length;
}"""


def coloured(seen):
    """Colour -> places of its pixels."""
    seen.page.wait_for_timeout(100)
    return {colour: np.array(places) for colour, places in seen.page.evaluate(COLOURED).items()}


def complaints(seen):
    """Those of the page: not that we look at its pixels, nor that a player stopped to load a file."""
    ours = ("willReadFrequently", "failed: file:")
    return [words for words in seen.complaints if not any(each in words for each in ours)]


def seconds_of(data, clip):
    """What a page knows of a clip's length."""
    lengths = next(column for column in data["columns"] if column["name"] == "duration_s")
    return lengths["values"][data["clips"].index(clip)]


def go_to(seen, place):
    box = seen.page.locator("#map").bounding_box()
    seen.page.mouse.move(box["x"] + float(place[0]), box["y"] + float(place[1]))


def drawn_data(seen):
    return json.loads(seen.page.locator("#data").text_content())


def test_points_are_drawn_apart_and_a_hover_tells_which(page):
    """Loud and quiet noise: each colour is a folder, and all of its points lie on one side."""
    with opened(page) as seen:
        data = drawn_data(seen)
        assert data["colour"] == "folder"
        found = coloured(seen)
        assert len(found) == 2
        one, other = found.values()
        assert one[:, 0].max() < other[:, 0].min() or other[:, 0].max() < one[:, 0].min()
        legend = seen.page.locator("#legend li").all_text_contents()
        assert sorted(legend) == ["loud5", "quiet5"]
        told = set()
        for places in (one, other):
            go_to(seen, places[len(places) // 2])
            tip = seen.page.locator("#tip")
            assert tip.is_visible()
            clip, folder, seconds = tip.locator("div").all_text_contents()
            assert folder == f"folder: {clip.partition('/')[0]}"
            assert float(seconds.removeprefix("duration_s: ")) == seconds_of(data, clip)
            told.add(folder)
        assert len(told) == 2
        go_to(seen, (3, 3))
        assert not seen.page.locator("#tip").is_visible()
        assert complaints(seen) == []


def test_colours_change_with_the_select(page):
    with opened(page) as seen:
        before = coloured(seen)
        seen.page.select_option("#colour", label="duration_s")
        numbers = coloured(seen)
        assert set(before) != set(numbers)
        assert len(numbers) >= 4  # of five lengths
        assert seen.page.locator("#legend .ticks span").count() == 3
        seen.page.select_option("#colour", label="status")
        assert len(coloured(seen)) == 1
        seen.page.select_option("#colour", label="embedded_at")
        assert "-" in seen.page.locator("#legend .ticks span").first.text_content()
        seen.page.select_option("#colour", label="folder")
        assert coloured(seen).keys() == before.keys()
        assert complaints(seen) == []


def test_dark_is_dark(page):
    with opened(page) as seen:
        colours = []
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)
            colours.append(
                seen.page.evaluate(
                    "['backgroundColor', 'color'].map(n => getComputedStyle(document.body)[n])"
                )
            )
        (light, ink), (dark, bright) = colours
        assert (light, ink) == ("rgb(255, 255, 255)", "rgb(34, 34, 34)")
        assert dark == "rgb(21, 24, 28)"
        assert bright == "rgb(230, 230, 230)"
        assert len(coloured(seen)) >= 2


def test_a_click_plays_any_file_that_is_here(page):
    """Each clip by the search: the address of its file is right, whatever it is called."""
    with opened(page) as seen:
        data = drawn_data(seen)
        assert len(data["clips"]) == 10
        for clip in data["clips"]:
            seen.page.fill("#search", clip)
            found = seen.page.locator("#found button")
            assert found.count() == 1
            found.click()
            seconds = seen.page.locator("audio").evaluate(LENGTH)
            assert seconds == pytest.approx(seconds_of(data, clip)), clip
        assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
        assert complaints(seen) == []


def test_a_click_on_a_point_plays_it(page):
    with opened(page) as seen:
        places = max(coloured(seen).values(), key=len)
        place = places[len(places) // 2]
        go_to(seen, place)
        clip = seen.page.locator("#tip div").first.text_content()
        seen.page.mouse.down()
        seen.page.mouse.up()
        assert seen.page.locator("#clip .id").text_content() == clip
        assert seen.page.locator("audio").evaluate("player => player.src").startswith("file:///")
        assert clip in seen.page.locator("#told").text_content()
        assert complaints(seen) == []


def test_keys_go_from_clip_to_clip_and_zoom(page):
    with opened(page) as seen:
        seen.page.locator("#map").focus()
        told = []
        for key in ("ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowUp"):
            seen.page.keyboard.press(key)
            told.append(seen.page.locator("#told").text_content().partition(",")[0])
        assert len(set(told)) >= 3
        before = {colour: len(at) for colour, at in coloured(seen).items()}
        for key in ("+", "+", "+"):
            seen.page.keyboard.press(key)
        assert {colour: len(at) for colour, at in coloured(seen).items()} != before
        seen.page.keyboard.press("0")
        assert {colour: len(at) for colour, at in coloured(seen).items()} == before
        assert complaints(seen) == []


def test_the_wheel_zooms_where_it_points_and_dragging_moves(page):
    with opened(page) as seen:
        places = max(coloured(seen).values(), key=len)
        place = places[len(places) // 2]
        go_to(seen, place)
        clip = seen.page.locator("#tip div").first.text_content()
        for _ in range(4):
            seen.page.mouse.wheel(0, -60)
        seen.page.wait_for_timeout(100)
        go_to(seen, place + np.array([1, 0]))
        assert seen.page.locator("#tip div").first.text_content() == clip
        seen.page.mouse.down()
        go_to(seen, place + np.array([60, 40]))
        seen.page.mouse.up()
        assert not seen.page.locator("audio").count()  # it was no click
        go_to(seen, place + np.array([59, 40]))
        assert seen.page.locator("#tip div").first.text_content() == clip
        assert complaints(seen) == []


def test_search_and_legend_leave_the_others_dim(page):
    with opened(page) as seen:
        everything = coloured(seen)
        seen.page.locator("#legend button", has_text="loud").click()
        assert len(coloured(seen)) == 1
        assert seen.page.locator("#legend button[aria-pressed=true]").count() == 1
        seen.page.fill("#search", "100%")
        assert seen.page.locator("#found h2").text_content() == "Found: 1"
        seen.page.locator("#legend button", has_text="loud").click()
        assert seen.page.locator("#found h2").text_content() == "Found: 2"
        seen.page.fill("#search", "nothing like it")
        assert coloured(seen) == {}
        seen.page.fill("#search", "")
        assert coloured(seen).keys() == everything.keys()


def test_what_is_not_here_any_more_says_so(page, table, tmp_path):
    """The page of a table whose corpus lies elsewhere, on a store, or is gone."""
    html = page.read_text(encoding="utf-8")
    moved = tmp_path / "moved.html"
    root = data_of(html)["root"]
    moved.write_text(html.replace(json.dumps(root), '"/nowhere/"'), encoding="utf-8")
    with opened(moved) as seen:
        seen.page.locator("#map").focus()
        seen.page.keyboard.press("ArrowRight")
        trouble = seen.page.locator("#clip p[role=alert]", has_text="It cannot be played: /nowhere/")
        trouble.wait_for(timeout=30_000)
    moved.write_text(html.replace(json.dumps(root), '"gs://bucket/"'), encoding="utf-8")
    with opened(moved) as seen:
        seen.page.locator("#map").focus()
        seen.page.keyboard.press("ArrowRight")
        assert "It lies at gs://bucket/" in seen.page.locator("#clip").text_content()
        assert seen.page.locator("audio").count() == 0
        assert complaints(seen) == []


def test_many_points_are_drawn_at_once(page, tmp_path):
    """20,000: each frame of a zoom takes a fraction of a second, on a slow machine without a GPU."""
    html = page.read_text(encoding="utf-8")
    data = data_of(html)
    count = 20_000
    points = np.random.default_rng(0).integers(0, 65_536, 2 * count).tolist()
    data |= {"points": points, "clips": [f"{n}.wav" for n in range(count)], "uris": [0] * count}
    for column in data["columns"]:
        column["values"] = [column["values"][n % 10] for n in range(count)]
    start, _, rest = html.partition('id="data">')
    _, end, rest = rest.partition("</script>")
    large = tmp_path / "large.html"
    large.write_text(f'{start}id="data">{json.dumps(data)}{end}{rest}', encoding="utf-8")
    with opened(large) as seen:
        frames = seen.page.evaluate(
            """() => new Promise(done => {
                const begin = performance.now(), frame = left => {
                    document.getElementById(left % 2 ? 'in' : 'out').click();
                    if (left) requestAnimationFrame(() => frame(left - 1));
                    else done(performance.now() - begin);
                };
                frame(11);
            })"""
        )
        assert frames / 10 < 500
        assert seen.page.evaluate(COVERED) > 50_000
        assert complaints(seen) == []


def test_a_clip_of_the_web_plays_from_there_and_only_when_it_is_asked_for(web_running, tmp_path):
    file = write_audio(tmp_path / "a b.wav", 0.5)
    web_running.files["/a%20b.wav"] = file.read_bytes()
    uris = [f"{web_running.url}/a%20b.wav", "/nowhere/other.wav"]
    placed = Placed(np.array([[0.0, 0.0], [1.0, 1.0]]), None)
    columns = [column_of("label", ["x", "y"])]
    html = map_page("table", "two", placed, ["a b.wav", "other.wav"], uris, columns, "label")
    (tmp_path / "map.html").write_text(html, encoding="utf-8")
    with opened(tmp_path / "map.html") as seen:
        seen.page.fill("#search", "a b")
        assert not [url for url in seen.requests if url.startswith("http")]
        seen.page.locator("#found button").click()
        assert seen.page.locator("audio").evaluate(LENGTH) == pytest.approx(0.5)
        assert {url for url in seen.requests if url.startswith("http")} == {uris[0]}
        assert complaints(seen) == []


def test_what_is_larger_is_further_up(tmp_path):
    """And a page without clips of the web lets nobody ask for anything there."""
    placed = Placed(np.array([[0.0, 0.0], [1.0, 4.0]]), None)
    columns = [column_of("label", ["low", "high"])]
    html = map_page("table", "two", placed, ["low.wav", "high.wav"], ["/low.wav"] * 2, columns, "label")
    assert "media-src file: data:; script-src 'sha256-" in html
    [left, low, right, high] = data_of(html)["points"]
    assert (low, high) == (65_535, 0)
    assert right - left == pytest.approx(65_535 / 4, abs=1)  # both axes have one scale
