"""Pages about names and texts that somebody has written, in a real browser: text stays text."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launch.main import main
from tests.browser import opened
from tests.corpus import FLAGS, write_audio, write_files

TEXTS = (
    "<script>window.hacked=1</script>",
    "<img src=x onerror='window.hacked=1'>",
    "<svg onload='window.hacked=1'><a href='javascript:window.hacked=1'>x</a></svg>",
    "</td></table></style></title><script>window.hacked=1</script>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\u2066",
    '" onmouseover="window.hacked=1',
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
)


@pytest.fixture
def page(tmp_path):
    """A page of runs whose records say whatever somebody likes."""
    corpus, table = (
        write_files(tmp_path / "corpus", 1),
        tmp_path / f"{TEXTS[0].replace('/', '')}'\"table",
    )
    assert main(["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]) == 0
    (record,) = (table / "runs").iterdir()
    facts = json.loads(record.read_text())
    for number, text in enumerate(TEXTS):
        changed = facts | {"run_id": text, "fingerprint": text, "command": text, "host": text}
        changed |= {"clips": {text: 1, "ok": 2}, "commit": number}
        (table / f"runs/{number}.json").write_text(json.dumps(changed))
        changed |= {"clips": {}}
        (table / f"runs/{number}-none.json").write_text(json.dumps(changed))
    assert main(["runs", "--table", str(table), "--plot", str(tmp_path / "page.html"), "--quiet"]) == 0
    return tmp_path / "page.html"


def test_the_page_of_runs_shows_hostile_texts_as_text(page):
    with opened(page) as seen:
        assert seen.page.evaluate("window.hacked") is None
        for name in ("script", "img", "a", "iframe", "object", "form", "meta[http-equiv=refresh]"):
            assert seen.page.locator(name).count() == 0, name
        assert (
            seen.page.evaluate(
                "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes])"
                ".filter(a => a.name.startsWith('on') || /javascript:/i.test(a.value)).length"
            )
            == 0
        )
        cells = seen.page.locator("td").all_text_contents()
        assert "<img src=x onerror='window.hacked=1'>" in cells
        assert any("{{ 7 * 7 }}" in cell for cell in cells)
        assert not any("\u202e" in cell for cell in cells)  # nobody reads a name backwards
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []


def test_a_script_that_got_into_a_page_would_not_run(page):
    """The second wall: the page's own policy, in case the escaping fails one day."""
    html = page.read_text(encoding="utf-8")
    assert html.count("</body>") == 1
    evil = page.with_name("evil.html")
    evil.write_text(html.replace("</body>", f"{TEXTS[0]}{TEXTS[1]}</body>"), encoding="utf-8")
    with opened(evil) as seen:
        assert seen.page.locator("script").count() == 1
        assert seen.page.evaluate("window.hacked") is None
        assert any("Content Security Policy" in words for words in seen.complaints)


@pytest.fixture
def chart(tmp_path):
    """A map of clips whose names, labels and addresses are whatever somebody likes."""
    corpus, table = tmp_path / "corpus", tmp_path / "<b>table"
    names = [f"{number} {text.replace('/', '')}.wav" for number, text in enumerate(TEXTS)]
    for number, name in enumerate(names):
        write_audio(corpus / name, seed=number)
    assert main(["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]) == 0
    [ledger] = table.glob("clips/*/*.parquet")
    rows = pq.ParquetFile(ledger).read()
    uris = ["javascript:window.hacked=1", "data:text/html,<script>window.hacked=1</script>", *TEXTS]
    for column, values in (("uri", uris), ("codec", TEXTS), ("run_id", TEXTS[::-1])):
        at = rows.schema.get_field_index(column)
        rows = rows.set_column(at, rows.schema.field(at), pa.array(values[: len(rows)], pa.string()))
    pq.write_table(rows, ledger)
    text = io.StringIO()
    csv.writer(text).writerows(
        [["clip_id", "label", *TEXTS], *([n, t, *TEXTS] for n, t in zip(names, TEXTS))]
    )
    (tmp_path / "labels.csv").write_text(text.getvalue(), encoding="utf-8")
    command = ["map", "--table", str(table), "--labels", str(tmp_path / "labels.csv"), "--quiet"]
    assert main([*command, "--output", str(tmp_path / "map.html")]) == 0
    return tmp_path / "map.html"


def test_a_map_shows_hostile_texts_as_text(chart):
    with opened(chart) as seen:
        page = seen.page
        data = json.loads(page.locator("#data").text_content())
        options = page.locator("#colour option").all_text_contents()
        assert len(options) == len(data["columns"]) > len(TEXTS)
        for number in range(len(options)):  # every column in the legend
            page.select_option("#colour", value=str(number))
        page.select_option("#colour", label="codec")
        page.locator("#map").focus()
        for clip in data["clips"]:  # every clip in the search, the panel, the tip
            page.fill("#search", clip)
            page.locator("#found button").click()
            assert page.locator("audio").count() == 0  # none has an address that may be asked for
        page.fill("#search", "")
        box = page.locator("#map").bounding_box()
        for step in range(40):
            page.mouse.move(box["x"] + box["width"] * step / 40, box["y"] + box["height"] / 2)
        assert page.evaluate("window.hacked") is None
        for name in ("img", "a", "b", "iframe", "object", "form[action]", "meta[http-equiv=refresh]"):
            assert page.locator(name).count() == 0, name
        assert page.locator("script").count() == 2  # the data, and the page's own
        shown = page.locator("body").inner_text()
        assert "<img src=x onerror='window.hacked=1'>" in shown
        assert "\\u202egnp.exe" in shown  # nobody reads a name backwards
        assert not {"\u202e", "\u2066"} & {*shown}
        assert seen.complaints == []
        assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []


def test_a_script_that_got_into_a_map_would_not_run(chart):
    """Its policy lets one script run, by its digest, and nothing but players ask for anything."""
    html = chart.read_text(encoding="utf-8")
    evil = chart.with_name("evil.html")
    asking = "<audio src='http://127.0.0.1:9/a.wav' autoplay></audio><button onclick='window.hacked=1'>"
    evil.write_text(html.replace("</body>", f"{TEXTS[0]}{TEXTS[1]}{asking}</body>"), encoding="utf-8")
    with opened(evil) as seen:
        assert seen.page.locator("script").count() == 3
        seen.page.locator("button[onclick]").click()
        assert seen.page.evaluate("window.hacked") is None
        assert sum("Content Security Policy" in words for words in seen.complaints) >= 4
        assert seen.page.locator("#legend li").count() > 0  # the page's own did
