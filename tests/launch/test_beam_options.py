"""Which options go to Beam, and which are refused beside ours."""

import pytest

from l3core.errors import UsageError
from launch.beam_options import OURS, OURS_ON_DATAFLOW, parse_with_beam
from launch.embed import build_parser
from launch.main import main

NEEDED = ["--input", "corpus", "--output", "table"]
FLINK = ["--runner", "flink"]


def parsed(*argv):
    return parse_with_beam(build_parser("l3flow embed"), [*NEEDED, *argv])


def test_runners():
    assert parsed()[0].runner == "local"
    assert parsed(*FLINK)[0].runner == "flink"
    with pytest.raises(
        UsageError, match="--runner must be one of local, flink, dataflow, got 'FlinkRunner'"
    ):
        parsed("--runner", "FlinkRunner")


@pytest.mark.parametrize(
    "flags",
    [
        ("--flink-master", "localhost:8081"),
        ("--flink-master", "local"),
        ("--flink-environment", "process"),
        ("--flink-job-server-jar", "my.jar"),
    ],
)
def test_flags_of_flink_need_flink(flags):
    with pytest.raises(UsageError, match=f"^{flags[0]} needs --runner flink$"):
        parsed(*flags)
    parsed(*FLINK, *flags)


def test_only_what_goes_on_elsewhere_can_be_left_to_itself():
    with pytest.raises(UsageError, match=r"^--detach needs --runner flink or dataflow$"):
        parsed("--detach")
    assert parsed(*FLINK, "--detach")[0].detach


@pytest.mark.parametrize(
    "flags",
    [
        ("--project", "p"),
        ("--region", "us-central1"),
        ("--temp-location", "gs://b/temp"),
        ("--sdk-container-image", "image"),
        ("--gpu", "l4"),
        ("--mps",),
        ("--machine-type", "g2-standard-8"),
        ("--disk-size", "50"),
        ("--service-account", "a@b"),
        ("--network", "n"),
        ("--subnetwork", "n"),
        ("--no-public-ips",),
        ("--label", "a=b"),
    ],
)
@pytest.mark.parametrize("runner", ["local", "flink"])
def test_flags_of_dataflow_need_dataflow(flags, runner):
    with pytest.raises(UsageError, match=f"^{flags[0]} needs --runner dataflow$"):
        parsed("--runner", runner, *flags)
    parsed("--runner", "dataflow", *flags)


SWITCHES = ("--no_use_public_ips", "--use_public_ips", "--save_main_session", "--streaming")


@pytest.mark.parametrize("name", OURS_ON_DATAFLOW)
def test_options_of_beam_that_we_set_on_dataflow(name):
    value = "" if name in SWITCHES else "=x"
    given = f"{name}{'' if name == '--update' else value}"
    if name == "--disk_size_gb":
        given = f"{name}=1"
    ours = OURS_ON_DATAFLOW[name]
    with pytest.raises(UsageError) as caught:
        parsed("--runner", "dataflow", given.replace("--max_num_workers=x", "--max_num_workers=1"))
    assert str(caught.value).startswith(f"{name} of Beam is what l3flow sets itself")
    assert not ours or str(caught.value).endswith(f": use {ours}")


def test_crossval_has_no_dataflow(capsys):
    needed = ["--dataset", "esc10", "--dataset-root", "a", "--table", "b", "--output", "c"]
    assert main(["crossval", *needed, "--runner", "dataflow"]) == 2
    assert "--runner must be one of local, flink, got 'dataflow'" in capsys.readouterr().err


def test_options_of_beam_are_handed_on():
    more = ["--environment_config=localhost:50001", "--sdk_worker_parallelism", "2"]
    args, beam_options = parsed(*FLINK, *more, "--workers", "3")
    assert beam_options == more
    assert args.workers == 3


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(("name", "ours"), OURS.items())
def test_options_of_beam_that_are_ours(name, ours, apart):
    given = [name, "1"] if apart else [f"{name}=1"]
    with pytest.raises(UsageError) as caught:
        parsed(*FLINK, *given)
    hint = f": use {ours}" if ours else ""
    assert str(caught.value) == f"{name} of Beam is what l3flow sets itself{hint}"


@pytest.mark.parametrize("name", ["--flink_master", "--flink_job_server_jar"])
def test_a_run_on_this_machine_is_told_that_it_was_not_meant(name):
    """It would run here, and say nothing."""
    with pytest.raises(
        UsageError, match=f"^{name} of Beam needs --runner flink, and there is {OURS[name]}"
    ):
        parsed(f"{name}=x")


def test_a_misspelt_one(capsys):
    assert main(["embed", *FLINK, "--flink-mastr", "localhost:8081"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown option --flink-mastr, did you mean --flink-master?" in line


def test_help_names_them(capsys):
    assert main(["embed", "--help"]) == 0
    said = capsys.readouterr().out
    for flag in filter(None, OURS.values()):
        assert flag in said
    assert "Options of Apache Beam may follow" in said
