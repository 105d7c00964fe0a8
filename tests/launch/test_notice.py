"""Who is told how a run ended: the exit code, `--json`, `--on-failure` and `--notify`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from launch import notice
from launch.main import main
from tests.corpus import FLAGS, write_files
from tests.launch.test_killed import DRIVER, REPOSITORY, SLOW_ENGINE, wait_for_manifests
from tests.processes import killed_at_end
from tests.web import make_certificate, web_server

SECRET = "/services/T0PLANTED/B0planted/x9plantedSECRET"


@pytest.fixture
def corpus(tmp_path):
    """Two recordings, and a file that is none."""
    folder = write_files(tmp_path / "corpus", 2)
    (folder / "page <b>\x1b.wav").write_text("<html>502 Bad Gateway</html>\n" * 40)
    return folder


@pytest.fixture
def table(tmp_path):
    return tmp_path / "table"


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(notice, "WAITS_S", (0.01, 0.02))
    with web_server() as server:
        server.on(SECRET, lambda handler: handler.answer(200, b"ok"))
        yield server


def embed(corpus, table, *flags):
    given = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--quiet"]
    return main([*given, *flags])


FAILING = ("--max-unreadable", "0")


def test_the_command_is_told_by_variables_and_on_its_standard_input(corpus, table, tmp_path, capsys):
    out = tmp_path / "out"
    command = f'env > {out}.env; cat > {out}.json; printf "%s" "$L3FLOW_MESSAGE" > {out}.message'
    assert embed(corpus, table, *FAILING, "--on-failure", command) == 1
    facts = json.loads((tmp_path / "out.json").read_bytes())
    lines = dict(line.partition("=")[::2] for line in (tmp_path / "out.env").read_text().splitlines())
    assert facts["status"] == lines["L3FLOW_STATUS"] == "failed"
    assert facts["exit_code"] == int(lines["L3FLOW_EXIT_CODE"]) == 1
    assert facts["table"] == lines["L3FLOW_TABLE"] == str(table)
    assert facts["run_id"] == lines["L3FLOW_RUN_ID"]
    assert facts["stage"] == lines["L3FLOW_STAGE"] == "committing"
    assert facts["message"] == (tmp_path / "out.message").read_text()
    assert capsys.readouterr().err == f"l3flow: {facts['message']}\n"
    assert facts["clips"] == {"ok": 2, "unreadable": 1}
    assert [each["status"] for each in facts["bad"]] == ["unreadable"]


def test_what_a_run_is_told_is_never_part_of_the_command(table, tmp_path, capsys):
    """A folder that is named like a command: it would leave a file where it was run."""
    folder = write_files(tmp_path / "$(touch planted); touch planted; `touch planted`", 1)
    (folder / "bad.wav").write_text("no audio")
    there = folder / "table"
    command = f'cd {tmp_path}; echo "$L3FLOW_TABLE" > said'
    assert embed(folder, there, *FAILING, "--on-failure", command) == 1
    assert (tmp_path / "said").read_text() == f"{there}\n"
    assert list(tmp_path.rglob("planted")) == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("exit 7", "l3flow: --on-failure: ended with exit code 7"),
        ("no-such-command-of-l3flow 2>/dev/null", "l3flow: --on-failure: ended with exit code 127"),
        ("sleep 60 & sleep 60", "l3flow: --on-failure: was stopped after 0 s"),
    ],
)
def test_a_command_that_fails_is_a_line_and_no_exit_code(
    corpus, table, capsys, monkeypatch, command, problem
):
    monkeypatch.setattr(notice, "COMMAND_S", 0.3)
    began = time.monotonic()
    assert embed(corpus, table, *FAILING, "--on-failure", command) == 1
    assert time.monotonic() - began < 30
    first, second = capsys.readouterr().err.splitlines()
    assert "--max-unreadable" in first
    assert second == problem


def test_a_run_that_ends_well_runs_no_command(corpus, table, tmp_path):
    assert embed(corpus, table, "--on-failure", f"touch {tmp_path}/ran") == 0
    assert not (tmp_path / "ran").exists()
    assert embed(corpus, table, "--strict", "--on-failure", f"touch {tmp_path}/ran") == 3
    assert (tmp_path / "ran").exists()


def test_what_a_command_prints_does_not_spoil_the_json(corpus, table, tmp_path):
    flags = ["--input", str(corpus), "--output", str(table), *FLAGS, *FAILING, "--json"]
    code = "from tests import fake_model; fake_model.register(); from launch.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "embed", *flags, "--on-failure", "echo heard; echo seen >&2"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=120,
    )
    assert done.returncode == 1
    facts = json.loads(done.stdout)
    assert done.stderr.splitlines() == [f"l3flow: {facts['message']}", "heard", "seen"]


def test_a_failure_is_posted(corpus, table, web, capsys):
    assert embed(corpus, table, *FAILING, "--notify", web.url + SECRET) == 1
    assert web.log == [f"POST {SECRET}"]
    (body,) = map(json.loads, web.posts)
    assert body["status"] == "failed"
    assert body["exit_code"] == 1
    assert body["stage"] == "committing"
    assert body["clips"] == {"ok": 2, "unreadable": 1}
    assert {"host", "versions", "fingerprint", "run_id", "duration_s", "table"} <= body.keys()
    assert body["text"].startswith(f"l3flow embed on {body['host']}, {table}: failed: the run failed")
    assert capsys.readouterr().err == f"l3flow: {body['message']}\n"


def test_every_end_that_is_not_success_is_posted_and_others_if_asked(corpus, table, web):
    url = ("--notify", web.url + SECRET)
    assert embed(corpus, table, *url) == 0
    assert embed(corpus, table, "--dry-run", "--strict", *url) == 0
    assert web.posts == []
    assert embed(corpus, table, "--strict", *url) == 3
    assert embed(corpus / "absent.wav", table, *url) == 2
    assert embed(corpus, table, "--weights", "absent.h5", *url) == 2
    assert embed(corpus, table, *url, "--notify-on", "always") == 0
    bodies = list(map(json.loads, web.posts))
    assert [body["status"] for body in bodies] == ["incomplete", "wrong-use", "wrong-use", "ok"]
    assert [body["exit_code"] for body in bodies] == [3, 2, 2, 0]
    assert bodies[0]["bad"][0]["status"] == "unreadable"
    assert "absent.wav" in bodies[1]["message"]
    assert "absent.h5" in bodies[2]["message"]
    assert bodies[3]["matched"] == {"failed before": 1, "unchanged": 2}


def test_a_damaged_table_is_posted(corpus, table, web):
    assert embed(corpus, table) == 0
    (table / "_l3flow/journal/00000001.json").write_text("{")
    assert embed(corpus, table, "--notify", web.url + SECRET) == 2
    (body,) = map(json.loads, web.posts)
    assert "is damaged" in body["message"]


def test_a_store_that_is_away_is_posted(corpus, table, web, monkeypatch):
    """Nothing listens at that port of this machine."""
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    flags = ("--storage-option", "endpoint_url=http://127.0.0.1:9", "--notify", web.url + SECRET)
    assert embed(corpus, "s3://bucket/table", *flags) == 1
    (body,) = map(json.loads, web.posts)
    assert (body["status"], body["stage"]) == ("failed", "planning")
    assert body["table"] == "s3://bucket/table"


def test_an_interrupted_run_is_posted(tmp_path, table, web):
    corpus = write_files(tmp_path / "corpus", 32)
    (tmp_path / "slow_engine.py").write_text(SLOW_ENGINE)
    (tmp_path / "driver.py").write_text(DRIVER)
    flags = ["embed", "--input", str(corpus), "--output", str(table), *FLAGS, "--json"]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py"), *flags, "--notify", web.url + SECRET],
        env=os.environ | {"PYTHONPATH": f"{REPOSITORY}:{tmp_path}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with killed_at_end(process):
        wait_for_manifests(process, table, 1)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (body,) = map(json.loads, web.posts)
    assert body["status"] == "interrupted"
    assert body["interrupted"] is True
    assert body["text"].endswith(body["message"])
    assert json.loads(out) == {name: value for name, value in body.items() if name != "text"}
    assert err == f"l3flow: {body['message']}\n"


@pytest.mark.parametrize(
    ("answer", "times", "asked", "problem"),
    [
        (lambda handler: handler.answer(500), 2, 3, None),
        (lambda handler: handler.answer(500), -1, 3, "the server answered 500, tried 3 times"),
        (lambda handler: handler.answer(403), -1, 1, "the server answered 403"),
        (
            lambda handler: handler.answer(307, Location="/elsewhere"),
            -1,
            1,
            "the server redirects (307), which is not followed",
        ),
        (lambda handler: time.sleep(0.6), -1, 3, "no answer within 0 s, tried 3 times"),
        (
            lambda handler: handler.connection.shutdown(socket.SHUT_RDWR),
            -1,
            3,
            "the server cannot be reached, or broke off, tried 3 times",
        ),
    ],
)
def test_a_server_that_does_not_take_it(
    corpus, table, web, capsys, monkeypatch, answer, times, asked, problem
):
    monkeypatch.setattr(notice, "ANSWER_S", 0.3)
    web.clear()
    web.on(SECRET, answer, times)
    web.files[SECRET] = b"ok"
    assert embed(corpus, table, *FAILING, "--notify", web.url + SECRET) == 1
    first, *more = capsys.readouterr().err.splitlines()
    assert "--max-unreadable" in first
    assert more == ([] if problem is None else [f"l3flow: --notify: {problem}"])
    assert web.log == [f"POST {SECRET}"] * asked


@pytest.mark.parametrize("given", ["plain", "env", "file"])
@pytest.mark.parametrize("works", [True, False])
def test_nothing_of_the_url_is_shown_recorded_or_logged(
    corpus, table, web, tmp_path, capsys, monkeypatch, given, works
):
    url = web.url + SECRET
    monkeypatch.setenv("PLANTED_URL", url)
    (tmp_path / "url").write_text(url + "\n")
    named = {"plain": url, "env": "env:PLANTED_URL", "file": f"file:{tmp_path / 'url'}"}[given]
    if not works:
        web.server_close()
        web.socket.close()
    log = tmp_path / "log"
    flags = ("--notify", named, "--notify-on", "always", "--log-file", str(log), "--json")
    assert embed(corpus, table, *flags) == 0
    assert embed(corpus, table, *flags, "--full", *FAILING) == 1
    printed = "".join(capsys.readouterr())
    assert main(["runs", "--table", str(table), "--json"]) == 0
    assert main(["runs", "--table", str(table), "--plot", str(tmp_path / "runs.html")]) == 0
    printed += "".join(capsys.readouterr())
    found = [path.read_bytes() for path in table.rglob("*") if path.is_file()]
    found += [log.read_bytes(), (tmp_path / "runs.html").read_bytes(), printed.encode()]
    assert len(found) > 10
    for secret in (b"T0PLANTED", b"plantedSECRET"):
        assert [content for content in found if secret in content] == []
    assert len(web.posts) == (2 if works else 0)
    assert printed.count("--notify: the server cannot be reached") == (0 if works else 2)


@pytest.mark.parametrize(
    "url",
    [
        f"http://hooks.example.org{SECRET}",
        f"http://10.0.0.1{SECRET}",
        f"ftp://localhost{SECRET}",
        f"https://{SECRET}",
        f"https://hooks.example.org{SECRET} x",
        f"https://hooks.example.org:99999{SECRET}",
        f"https://[::1{SECRET}",
        SECRET,
        "env:NOT_SET_AT_ALL",
        "file:/not/there",
        "env:PLANTED_WRONG",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_wrong_use(corpus, table, capsys, monkeypatch, url):
    monkeypatch.setenv("PLANTED_WRONG", f"http://hooks.example.org{SECRET}")
    assert embed(corpus, table, "--notify", url) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("l3flow: --notify")
    assert "PLANTED/" not in line
    assert "plantedSECRET" not in line
    assert not table.exists()


def test_https_is_posted_to_if_its_certificate_is_accepted(corpus, table, tmp_path, capsys, monkeypatch):
    certificate = make_certificate(tmp_path)
    with web_server(certificate) as server:
        server.files["/in"] = b"ok"
        flags = ("--notify", f"{server.url}/in", "--notify-on", "always")
        assert embed(corpus, table, *flags) == 0
        refused = capsys.readouterr().err
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert embed(corpus, table, *flags) == 0
        assert capsys.readouterr().err == ""
        assert len(server.posts) == 1
    assert refused == "l3flow: --notify: the server's certificate or TLS is not accepted\n"


def test_notify_on_needs_somebody(corpus, table, capsys):
    assert embed(corpus, table, "--notify-on", "always") == 2
    assert "--notify-on needs --notify" in capsys.readouterr().err


def test_json_of_every_end(corpus, table, capsys):
    def ended(*flags):
        code = embed(corpus, table, *flags, "--json")
        return code, json.loads(capsys.readouterr().out)

    code, done = ended()
    assert (code, done["status"], done["exit_code"], done["message"]) == (0, "ok", 0, "")
    code, strict = ended("--strict")
    assert (code, strict["status"], strict["exit_code"]) == (3, "incomplete", 3)
    code, preview = ended("--dry-run")
    assert (code, preview["status"], preview["exit_code"]) == (0, "dry-run", 0)
    code, wrong = ended("--root", "/elsewhere")
    assert (code, wrong["status"], wrong["exit_code"]) == (2, "wrong-use", 2)
    assert wrong["message"].startswith("--root /elsewhere")
    code, failed = ended("--full", *FAILING)
    assert (code, failed["status"], failed["exit_code"]) == (1, "failed", 1)
    for facts in (done, strict, preview, wrong, failed):
        assert facts["table"] == str(table)


def test_a_mistake_of_ours_is_told_and_keeps_its_traceback(corpus, table, web, monkeypatch):
    from launch import embed_run

    def broken(*args, **kwargs):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(embed_run, "make_plan", broken)
    with pytest.raises(ZeroDivisionError):
        embed(corpus, table, "--notify", web.url + SECRET)
    (body,) = map(json.loads, web.posts)
    assert body["message"] == "ZeroDivisionError: planted"
    assert len(list((table / "_l3flow/failed").iterdir())) == 1


def test_a_failed_crossval_is_told(tmp_path, web, capsys):
    flags = ["--dataset", "esc10", "--dataset-root", str(tmp_path / "absent"), "--table", str(tmp_path)]
    given = ["crossval", *flags, "--output", str(tmp_path / "out"), "--notify", web.url + SECRET]
    assert main([*given, "--json"]) == 2
    (body,) = map(json.loads, web.posts)
    assert (body["command"], body["status"], body["table"]) == ("crossval", "wrong-use", str(tmp_path))
    assert json.loads(capsys.readouterr().out)["message"] == body["message"]
    assert not (tmp_path / "out").exists()
