"""`l3flow embed` of URLs: every object has its row, whatever its server does."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from l3core import urls, web
from l3core.downloads import LIMIT
from l3core.table import pieces
from launch.main import main
from tests.corpus import FLAGS, expected_rows, ledger, noise, snapshot, table_rows
from tests.emulators import free_port
from tests.web import etag, web_server

REPOSITORY = Path(__file__).parents[2]


def wav(seconds, seed=0):
    content = io.BytesIO()
    soundfile.write(content, noise(seconds, seed=seed), 8_000, format="WAV")
    return content.getvalue()


CONTENT, OTHER = wav(1.0), wav(1.3, seed=1)


@pytest.fixture
def server(web_running, monkeypatch):
    """A server with two files, that nobody waits for."""
    web_running.clear()
    web_running.files = {"/x/a.wav": CONTENT, "/x/y/b.wav": OTHER}
    monkeypatch.setattr(web, "BACKOFF_S", 0.01)
    monkeypatch.delenv(LIMIT, raising=False)
    return web_running


def embed(table, *inputs, more=()):
    return main(["embed", "--input", *inputs, "--output", str(table), *FLAGS, "--quiet", *more])


def statuses(table):
    return {clip_id: row["status"] for clip_id, row in ledger(table).items()}


def refused(capsys, *command):
    """The one line of a command that is wrong use."""
    assert main(list(command)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_the_table_of_the_web_is_that_of_a_disk(server, tmp_path):
    for name, content in server.files.items():
        file = tmp_path / "disk" / name.removeprefix("/x/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    inputs = [server.url + name for name in server.files]
    assert embed(tmp_path / "table", *inputs) == 0
    assert table_rows(tmp_path / "table") == expected_rows(tmp_path / "disk")
    row = ledger(tmp_path / "table")["y/b.wav"]
    assert row["uri"] == f"{server.url}/x/y/b.wav"
    assert row["version"] == etag(OTHER)
    assert row["size_bytes"] == len(OTHER)
    once = [f"{how} {name}" for name in server.files for how in ("HEAD", "GET")]
    assert sorted(server.log) == sorted(once)
    assert main(["verify", "--table", str(tmp_path / "table"), "--quiet"]) == 0


def test_again_only_what_changed_is_asked_for(server, tmp_path):
    inputs = [server.url + name for name in server.files]
    assert embed(tmp_path, *inputs) == 0
    server.clear()
    assert embed(tmp_path, *inputs) == 0
    assert {line.partition(" ")[0] for line in server.log} == {"HEAD"}
    server.files["/x/a.wav"] = wav(0.7, seed=5)
    del server.files["/x/y/b.wav"]
    server.clear()
    assert embed(tmp_path, *inputs, more=["--prune", "--allow-shrink"]) == 0
    assert [line for line in server.log if line.startswith("GET")] == ["GET /x/a.wav"]
    assert statuses(tmp_path) == {"a.wav": "ok", "y/b.wav": "gone"}
    assert {row[0] for row in table_rows(tmp_path)} == {"a.wav"}


def test_what_no_header_tells_a_version_of_is_embedded_by_every_run(server, tmp_path):
    """Or a replaced one would never be."""
    untold = {"ETag": None, "Last_Modified": None}
    server.on("/x/a.wav", lambda handler: handler.give(server.files["/x/a.wav"], **untold))
    runs = []
    for more in ([], [], ["--verify-content"]):
        server.log.clear()
        assert embed(tmp_path, f"{server.url}/x/a.wav", more=more) == 0
        runs.append(ledger(tmp_path)["a.wav"]["run_id"])
        assert server.log.count("GET /x/a.wav") == 1
    assert runs[0] != runs[1] == runs[2]  # by its content it is the same
    server.files["/x/a.wav"] = wav(1.0, seed=7)
    assert embed(tmp_path, f"{server.url}/x/a.wav", more=["--verify-content"]) == 0
    assert ledger(tmp_path)["a.wav"]["run_id"] not in runs


def test_every_kind_of_trouble_has_its_row(server, tmp_path):
    """One bad URL stops none of its neighbours."""

    def unlisted(behave):
        return lambda handler: handler.give(CONTENT) if handler.command == "HEAD" else behave(handler)

    def cut(handler):
        handler.give(CONTENT[:8_000], ETag=etag(CONTENT), Content_Length=str(len(CONTENT)))

    for name, behave in {
        "403": lambda handler: handler.answer(403),
        "503": lambda handler: handler.answer(503),
        "404": unlisted(lambda handler: handler.answer(404)),
        "410": unlisted(lambda handler: handler.answer(410)),
        "changed": unlisted(lambda handler: handler.give(OTHER)),
        "cut": cut,
        "cut while read": unlisted(cut),
        "empty": lambda handler: handler.give(b""),
        "page": lambda handler: handler.give(b"<html>Please log in</html>" * 100),
        "local": lambda handler: handler.answer(302, Location="http://localhost/hush"),
        "large": lambda handler: handler.give(bytes(30_000)),
        "no size": lambda handler: handler.give(OTHER, Content_Length=None),
        "no size, large": lambda handler: handler.give(bytes(30_000), Content_Length=None),
    }.items():
        server.on(f"/x/{name.replace(' ', '%20')}", behave)
    names = [name.partition("/x/")[2].replace("%20", " ") for name in server.behaviours]
    (tmp_path / "urls.txt").write_text("\n".join(f"{server.url}/x/{name}" for name in [*names, "a.wav"]))
    nobody = f"http://127.0.0.1:{free_port()}/x.wav"
    table = tmp_path / "table"
    limit = ["--max-download", "25kB"]
    assert embed(table, f"@{tmp_path}/urls.txt", nobody, f"{server.url}/x/none", more=limit) == 0
    found = {row["uri"]: row for row in ledger(table).values()}
    assert found.pop(nobody)["status"] == "storage-error"
    rows = {uri.rpartition("/x/")[2]: row for uri, row in found.items()}
    assert {name: row["status"] for name, row in rows.items()} == {
        "403": "forbidden",
        "404": "vanished",
        "410": "vanished",
        "503": "storage-error",
        "a.wav": "ok",
        "changed": "changed",
        "cut": "storage-error",
        "cut while read": "storage-error",
        "empty": "empty",
        "large": "too-large",
        "local": "forbidden",
        "no size": "ok",
        "no size, large": "too-large",
        "none": "vanished",
        "page": "unreadable",
    }
    assert rows["local"]["error"].startswith("it redirects to the local address")
    assert rows["403"]["error"] == "the server does not give it (403)"
    assert rows["large"]["error"] == "larger than 25,000 bytes: --max-download allows more"
    assert main(["verify", "--table", str(table), "--quiet"]) == 0


def test_a_good_row_keeps_its_windows_while_its_server_is_in_trouble(server, tmp_path):
    inputs = [server.url + name for name in server.files]
    assert embed(tmp_path, *inputs) == 0
    before = table_rows(tmp_path)
    server.fail("/x/a.wav", 503)
    assert embed(tmp_path, *inputs) == 0
    assert table_rows(tmp_path) == before
    error = "storage-error: reading failed: the server answered 503"
    assert ledger(tmp_path)["a.wav"]["error"] == error
    server.clear()
    assert embed(tmp_path, *inputs) == 0
    assert ledger(tmp_path)["a.wav"]["error"] is None


def test_what_was_too_large_is_tried_again_with_another_limit_only(server, tmp_path):
    def run(*limit):
        server.log.clear()
        assert embed(tmp_path, f"{server.url}/x/a.wav", more=limit) == 0
        return ledger(tmp_path)["a.wav"]["status"]

    assert run("--max-download", "10kB") == "too-large"
    before = snapshot(tmp_path)
    assert run("--max-download", "10kB") == "too-large"
    assert {name for name in snapshot(tmp_path) if not name.startswith("runs/")} <= before.keys()
    assert server.log == ["HEAD /x/a.wav"]
    assert run() == "ok"  # 1 GB


def test_processes_that_embed_know_the_limit(server, tmp_path):
    assert embed(tmp_path, f"{server.url}/x/a.wav", more=["--max-download", "123kB"]) == 0
    said = "from l3core.downloads import max_download; print(max_download())"
    result = subprocess.run(
        [sys.executable, "-c", said], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout == "123000\n"


def test_a_long_recording_is_fetched_once(server, tmp_path, monkeypatch):
    """From a disk or a bucket it would be cut into pieces that are read side by side."""
    monkeypatch.setattr(pieces, "PROBE_BYTES", 10_000)
    monkeypatch.setattr(pieces, "SHARD_SECONDS", 1e-3)  # five windows
    server.files["/x/a.wav"] = wav(20.0)
    assert embed(tmp_path, f"{server.url}/x/a.wav") == 0
    assert server.log == ["HEAD /x/a.wav", "GET /x/a.wav"]
    assert ledger(tmp_path)["a.wav"]["status"] == "ok"


def test_a_redirect_is_followed_and_the_row_is_that_of_its_url(server, tmp_path, monkeypatch):
    monkeypatch.setattr(urls, "is_local", lambda host: False)  # there is no other machine here
    server.redirect("/x/moved.wav", "/x/a.wav?X-Amz-Signature=hush")
    server.files["/x/a.wav?X-Amz-Signature=hush"] = CONTENT
    assert embed(tmp_path, f"{server.url}/x/moved.wav") == 0
    row = ledger(tmp_path)["moved.wav"]
    assert row["status"] == "ok"
    assert "hush" not in str(row)


def test_several_servers_and_a_list_that_is_on_the_web(server, tmp_path):
    with web_server() as other:
        other.files = {"/z/c.wav": CONTENT}
        server.files["/list.txt"] = f"{other.url}/z/c.wav\n{server.url}/x/a.wav\n".encode()
        for _ in range(2):
            assert embed(tmp_path, f"@{server.url}/list.txt") == 0
    assert statuses(tmp_path) == {
        f"127.0.0.1:{other.server_port}/z/c.wav": "ok",
        f"127.0.0.1:{server.server_port}/x/a.wav": "ok",
    }
    assert main(["verify", "--table", str(tmp_path), "--quiet"]) == 0
    reroot = ["reroot", "--table", str(tmp_path), "--quiet", "--root"]
    assert main([*reroot, f"{server.url}/x"]) == 2  # the other one's clip is not below it


def test_rerooting_a_table_of_the_web(server, tmp_path):
    assert embed(tmp_path, f"{server.url}/x/a.wav", f"{server.url}/x/y/b.wav") == 0
    assert main(["reroot", "--table", str(tmp_path), "--quiet", "--root", server.url]) == 0
    assert sorted(ledger(tmp_path)) == ["x/a.wav", "x/y/b.wav"]
    assert embed(tmp_path, f"{server.url}/x/a.wav", more=["--root", f"{server.url}/"]) == 0
    assert main(["verify", "--table", str(tmp_path), "--quiet"]) == 0


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("https://example.org/*.wav", "--input https://example.org/*.wav: web servers do not list"),
        ("https://example.org/folder/", "web servers do not list folders"),
        ("https://user:hush@example.org/a.wav", "--input https://example.org/a.wav: a user or password"),
        ("https://example.org/a.wav?X-Amz-Signature=hush", "looks like a secret"),
        ("@https://user:hush@example.org/list.txt", "a user or password"),
        ("@https://example.org/list.txt?sig=hush", "looks like a secret"),
    ],
)
def test_urls_that_are_refused(tmp_path, capsys, given, problem):
    said = refused(capsys, "embed", "--input", given, "--output", str(tmp_path / "t"), *FLAGS)
    assert problem in said
    assert "hush" not in said
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("command", ["embed", "classify", "crossval", "verify"])
def test_nothing_is_written_to_the_web(server, capsys, command):
    flag = "--table" if command == "verify" else "--output"
    place = f"{server.url}/t.csv"
    needed = {
        "embed": ["--input", "/nothing", *FLAGS],
        "classify": ["--input", "/nothing", "--model", "/nothing"],
        "crossval": ["--dataset", "esc10", "--dataset-root", "/nothing", "--table", "/nothing"],
        "verify": [],
    }
    said = refused(capsys, command, *needed[command], flag, place)
    assert f"{flag} needs a disk, gs:// or s3://: web servers neither take files nor list them" in said
    assert server.log == []
