"""Libraries are kept off the screen; our own lines are not."""

import logging
import subprocess
import sys
import threading
from urllib.parse import quote_plus

from l3core.storage_options import CONFIGURED
from launch.quiet import quiet_libraries

CHATTER = """
import logging, os, sys, warnings
from l3core.storage_options import CONFIGURED
from launch.quiet import quiet_libraries
with quiet_libraries({log!r}):
    os.write(2, b"a codec writes\\n")
    logging.getLogger("some.library").warning("a library logs")
    warnings.warn("a library warns")
    print("we say", file=sys.stderr)
os.write(2, b"afterwards\\n")
"""


def run(log):
    code = CHATTER.format(log=log)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stderr


def test_nothing_of_libraries_is_seen():
    assert run(None) == "we say\nafterwards\n"


def test_all_of_it_is_in_the_log(tmp_path):
    log = tmp_path / "log.txt"
    assert run(str(log)) == "we say\nafterwards\n"
    text = log.read_text()
    for line in ("a codec writes", "WARNING some.library: a library logs", "a library warns"):
        assert line in text


def test_what_ends_a_thread_is_in_the_log_and_not_on_the_screen(tmp_path, capfd):
    def work():
        raise ValueError("of a library's thread")

    log = tmp_path / "log"
    with quiet_libraries(str(log)):
        thread = threading.Thread(target=work, name="their thread")
        thread.start()
        thread.join()
    assert capfd.readouterr() == ("", "")
    assert "their thread ended with an error" in log.read_text()
    assert "ValueError: of a library's thread" in log.read_text()


def test_a_secret_that_a_library_logs_is_hidden(tmp_path, monkeypatch):
    secret = "swordfish/+"
    monkeypatch.setenv("A_SECRET", secret)
    monkeypatch.setenv(CONFIGURED, '{"password": "env:A_SECRET"}')
    with quiet_libraries(str(tmp_path / "log")):
        try:
            raise ConnectionError(f"no answer of https://host/?password={quote_plus(secret)}")
        except ConnectionError:
            logging.getLogger("a.client").exception("the password is %s", secret)
    said = (tmp_path / "log").read_text()
    assert "the password is ***" in said
    assert "ConnectionError: no answer of https://host/?password=***" in said
    assert "swordfish" not in said
