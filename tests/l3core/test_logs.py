"""Events of workers: a line each, whatever is in it, and what they are about."""

import json
import logging
import threading

from hypothesis import given
from hypothesis import strategies as st

from l3core.logs import MOST_CHARACTERS, as_line, say, working_on
from l3core.storage_options import CONFIGURED

LOGGER = logging.getLogger("tests.logs")


def said(caplog):
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == LOGGER.name]


def test_an_event_says_what_it_is_about(caplog):
    caplog.set_level(logging.INFO, LOGGER.name)
    with working_on(run="r1"):
        with working_on(shard="000001"):
            say(LOGGER, "inside", windows=5, seconds=0.12345678)
        say(LOGGER, "between")
    say(LOGGER, "outside", level=logging.WARNING)
    assert said(caplog) == [
        {"event": "inside", "run": "r1", "shard": "000001", "windows": 5, "seconds": 0.123457},
        {"event": "between", "run": "r1"},
        {"event": "outside"},
    ]
    assert [record.levelname for record in caplog.records] == ["INFO", "INFO", "WARNING"]
    assert {record.filename for record in caplog.records} == {"test_logs.py"}  # as runners show it


def test_threads_do_not_mix(caplog):
    caplog.set_level(logging.INFO, LOGGER.name)
    meet = threading.Barrier(2)

    def work(shard):
        with working_on(shard=shard):
            meet.wait(30)
            say(LOGGER, f"of {shard}")

    threads = [threading.Thread(target=work, args=(shard,)) for shard in ("1", "2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(each["event"], each["shard"]) for each in said(caplog)} == {("of 1", "1"), ("of 2", "2")}


def test_what_nobody_hears_is_not_made(caplog):
    class Fact:
        """No JSON."""

    caplog.set_level(logging.WARNING, LOGGER.name)
    say(LOGGER, "quiet", fact=Fact())
    assert said(caplog) == []


@given(
    st.text()
    | st.text(
        st.characters(categories=["Cc", "Cf", "Zl", "Zp"])
        # bytes of names that are no UTF-8, as Python has them
        | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"])
    )
)
def test_any_name_is_one_line_of_printable_characters(name):
    line = as_line({"clip": name, "status": "ok"})
    assert line.isprintable()
    assert json.loads(line) == {"clip": name, "status": "ok"}


def test_names_that_can_be_printed_can_be_searched_for():
    assert as_line({"clip": 'vögel/"уточка".wav'}) == '{"clip": "vögel/\\"уточка\\".wav"}'


def test_long_texts_are_cut_and_secrets_taken_out(monkeypatch):
    monkeypatch.setenv("A_SECRET", "swordfish")
    monkeypatch.setenv(CONFIGURED, '{"password": "env:A_SECRET"}')
    found = json.loads(as_line({"error": "no answer of ?password=swordfish", "clip": "x" * 5000}))
    assert found["error"] == "no answer of ?password=***"
    assert found["clip"] == "x" * MOST_CHARACTERS + "..."
