"""The command behind `--`: checked as strictly as the command itself, its places and secrets carried."""

import json

import pytest

from launch.main import main
from tests.schedules import TO, embedding, schedule

EMBED = ["--", "embed", "--input", "gs://b/audio", "--output", "gs://b/table"]


def refused(capsys, argv):
    """The one line of a schedule that is refused."""
    assert main(["schedule", *map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


@pytest.mark.parametrize("to", TO)
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--hopp", "1"], "l3flow embed: unknown option --hopp, did you mean --hop?"),
        (["--hop", "-1"], "--hop"),
        (["--model", "l4"], "'l4'"),
        (["--runner", "spark"], "'spark'"),
        (["--flink-master", "local"], "--flink-master needs --runner flink"),
        (["--prune", "--limit", "1"], "--prune needs all of the input"),
        (["--direct_num_worker", "1"], "did you mean --direct_num_workers?"),
        (["stray"], "'stray'"),
        (["--storage-option", "secret=hunter2"], "secret=env:NAME"),
        (["--notify", "https://hooks.example/hunter2"], "--notify in a schedule needs env:NAME"),
        (["--notify-on", "always"], "--notify-on needs --notify"),
        (["--dry-run"], "--dry-run does nothing"),
        (["--if-running", "fail"], "leave it out"),
        (["--root", "a\nb"], "line breaks"),
        (["--root", "a\x1b[2J"], "control characters"),
        (["--root", "a\udce9"], "no UTF-8"),
        (["--root", ""], "--root needs a path or URI"),
        (["--input", "https://me:hunter2@host/a.wav"], "--input"),
        (["--root", "nosuch://x"], "no store called nosuch"),
        (["--", "x"], "a second --"),
    ],
)
def test_a_command_is_refused_as_if_it_ran(capsys, to, flags, says):
    line = refused(capsys, ["--to", to, "--every", "night", *TO[to], *EMBED, *flags])
    assert says in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ([], "needs -- and a command"),
        (["--"], "embed, compact, verify"),
        (["--", "crossval", "--table", "t"], "got 'crossval'"),
        (["--", "embed", "--input", "x"], "--output"),
        (["--", "verify"], "--table"),
        (["--", "verify", "--table", "t", "--prune"], "unknown option --prune"),
        (["--", "compact", "--tabel", "t"], "did you mean --table?"),
    ],
)
def test_a_command_that_makes_no_sense(capsys, command, says):
    assert says in refused(capsys, ["--to", "cron", "--every", "night", *command])


@pytest.mark.parametrize("given", [[], ["--if-running", "skip"], ["--if-running=skip"]])
def test_a_run_that_meets_another_is_skipped(capsys, given):
    command = schedule(capsys, "cron", *embedding("/data/audio"), *given)["command"]
    assert " ".join(command).replace("=", " ").count("--if-running skip") == 1


def test_maintenance_can_be_scheduled(capsys):
    for command in ("compact", "verify"):
        facts = schedule(capsys, "cron", command, "--table", "/data/table")
        assert facts["command"][1:] == [command, "--table", "/data/table"]
        assert list(facts["files"]) == [f"l3flow-{command}.cron"]


@pytest.mark.parametrize("to", ["cron", "systemd"])
def test_paths_of_this_machine_are_made_absolute(capsys, tmp_path, monkeypatch, to):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    facts = schedule(
        *(capsys, to, "embed", "--input", "a b/**", "@list.txt", "gs://b/c", "@gs://b/list", "~/x"),
        *("/abs", "file:///abs/d", "--output=table", "--weights", "w.h5", "--root", "..", "--hop", "1"),
        *("--log-file", "log"),
    )
    assert facts["command"][1:] == [
        *("embed", "--input", f"{tmp_path}/a b/**", f"@{tmp_path}/list.txt", "gs://b/c", "@gs://b/list"),
        *("/home/me/x", "/abs", "/abs/d", f"--output={tmp_path}/table", "--weights", f"{tmp_path}/w.h5"),
        *("--root", str(tmp_path.parent), "--hop", "1", "--log-file", f"{tmp_path}/log"),
        *("--if-running", "skip"),
    ]


@pytest.mark.parametrize("weights", ["published", "random:0", "gs://b/w.h5"])
def test_weights_that_are_no_path_stay(capsys, weights):
    assert weights in schedule(capsys, "cron", *embedding("/a"), "--weights", weights)["command"]


@pytest.mark.parametrize("to", ["k8s", "cloud-scheduler", "airflow"])
def test_paths_elsewhere_are_in_a_volume_or_in_a_store(capsys, to):
    flags = ["--volume", "audio=/mnt" if to == "k8s" else "/mnt", *TO[to][: TO[to].index("--volume")]]
    head = ["--to", to, "--every", "night", *flags, "--", "embed"]
    for path in ("corpus", "/corpus", "/mnt/../corpus", "/mnt2/x", "~/x", "@list", "file:///x"):
        line = refused(capsys, [*head, "--input", path, "--output", "gs://b/table"])
        assert f"--input {path}: a path of this machine" in line
    assert main(["schedule", *head, "--input", "/mnt/a", "@gs://b/list", "--output", "/mnt"]) == 0


@pytest.mark.parametrize(
    ("to", "option", "flag"),
    [
        ("cron", "key=env:KEY", "--env-file"),
        ("systemd", "key=env:KEY", "--env-file"),
        ("k8s", "key=env:KEY", "--secret"),
        ("k8s", "key=file:/etc/key", "--secret"),
    ],
)
def test_secrets_need_a_place(capsys, to, option, flag):
    argv = ["--to", to, "--every", "night", *TO[to], *EMBED, "--storage-option", option]
    assert f"give {flag}" in refused(capsys, argv)


@pytest.mark.parametrize("to", TO)
def test_secrets_are_named_and_never_told(capsys, monkeypatch, tmp_path, to):
    monkeypatch.setenv("PLANTED", "hunter2")
    (tmp_path / "key").write_text("hunter3")
    flags = {"k8s": ["--secret", "store"], "cron": ["--env-file", "/etc/l3flow.env"]}
    flags["systemd"] = flags["cron"]
    options = ["--storage-option", "key=env:PLANTED", f"--storage-option=secret=file:{tmp_path}/key"]
    options += ["--notify", "env:HOOK"]
    facts = schedule(capsys, to, *embedding("gs://b/a"), *options, flags=flags.get(to, []))
    text = json.dumps(facts)
    assert "hunter" not in text
    assert {"key=env:PLANTED", f"--storage-option=secret=file:{tmp_path}/key"} <= set(facts["command"])
    told = next(iter(facts["files"].values()))
    assert "PLANTED" in told
    assert "HOOK" in told


def test_a_file_that_names_where_to_post_is_found_from_anywhere(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = schedule(capsys, "cron", *embedding("gs://b/a"), "--notify", "file:hook")
    assert f"file:{tmp_path}/hook" in facts["command"]


def test_a_variable_has_a_name(capsys):
    argv = ["--to", "airflow", "--every", "night", *EMBED, "--storage-option", "key=env:a b"]
    assert "no name of a variable" in refused(capsys, argv)
