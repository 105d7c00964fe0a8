"""Pages about names and texts that somebody has written, in a real browser: text stays text."""

import json

import pytest

from launch.main import main
from tests.browser import opened
from tests.corpus import FLAGS, write_files

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
