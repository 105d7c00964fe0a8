"""The parameters of the template: the options of `embed`, there and back, and what a launch is told."""

import argparse
import copy
import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l3core.errors import UsageError
from launch import embed
from launch.beam_options import OURS_ON_DATAFLOW
from launch.dataflow.launched import OURS, launched
from launch.dataflow.parameters import (
    OF_THE_LAUNCH,
    REGEXES,
    WITHOUT,
    actions,
    flags_of,
    metadata,
    parameters_of,
    values_of,
)
from launch.dataflow.template import spec_of_template
from tests.flex_templates import REPOSITORY, SPEC, errors_of
from tests.make_template import FILE, text

NEEDED = {"input": "gs://b/a", "output": "gs://b/t", "sdk_container_image": "i"}
LAUNCHED = ["--job_name=nightly", "--template_location=gs://b/t/job_object"]


def test_the_file_is_what_the_options_are():
    # in a process without the tests' models
    made = subprocess.run(
        [sys.executable, "-c", "from tests.make_template import text; print(text(), end='')"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert FILE.read_text(encoding="utf-8") == made.stdout, "python -m tests.make_template writes it"


def test_google_takes_the_spec():
    spec = spec_of_template("i")
    assert errors_of(spec, SPEC) == []
    wrong = copy.deepcopy(spec)
    wrong["metadata"]["parameters"][0]["paramType"] = "TXT"
    assert errors_of(wrong, SPEC) != []


def test_each_flag_of_the_command_is_a_parameter_or_has_a_reason():
    parser = embed.build_parser("l3flow embed")
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    flags -= {"--no-compact-encoding"}  # `false` of the other
    left_out = set(WITHOUT) | set(OF_THE_LAUNCH)
    assert left_out <= flags
    names = {f"--{name.replace('_', '-')}" for name in actions()}
    assert names == flags - left_out
    assert {each["name"] for each in metadata()} == set(actions())


def test_no_parameter_is_an_option_that_googles_launcher_needs():
    """docs.cloud.google.com/dataflow/docs/guides/troubleshoot-templates, March 2026: not to be set."""
    assert not {"runner", "project", "job_name", "template_location", "region"} & set(actions())


def test_what_is_needed_is_said_to_be():
    assert {each["name"] for each in metadata() if not each["isOptional"]} == set(NEEDED)


VALUES = ["1", "12", "007", "0", "-3", "x", "1.5", "20GB", "1.5kB", "5 M", "5%", "2.5%", "%", "", "1e3"]


@pytest.mark.parametrize("kind", REGEXES, ids=lambda kind: kind.__name__)
def test_a_regex_takes_what_the_option_takes(kind):
    def taken(value):
        try:
            kind(value)
        except argparse.ArgumentTypeError:
            return False
        return True

    expected = [value for value in VALUES if taken(value)]
    assert [value for value in VALUES if re.search(REGEXES[kind], value)] == expected != []


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), min_size=1), min_size=1).filter(
        lambda texts: not any(each.startswith("-") for each in texts)
    ),
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1),
)
def test_any_text_comes_back(inputs, root):
    argv = ["--input", *inputs, "--output=gs://b/t", f"--root={root}", "--prune"]
    values = values_of(argv)
    assert values == {"--input": inputs, "--output": "gs://b/t", "--root": root, "--prune": True}
    assert values_of(flags_of(parameters_of(values))) == values


@pytest.mark.parametrize(
    ("parameters", "flags"),
    [
        ({"prune": "false"}, []),
        ({"compact_encoding": "true"}, ["--compact-encoding"]),
        ({"compact_encoding": "false"}, ["--no-compact-encoding"]),
        ({"prune": "TRUE"}, ["--prune"]),
        ({"hop": ""}, []),
        ({"input": "gs://b/[ab].wav"}, ["--input", "gs://b/[ab].wav"]),
        ({"input": '["a b", "c,d"]'}, ["--input", "a b", "c,d"]),
        ({"model_option": '["a=b", "c=d"]'}, ["--model-option=a=b", "--model-option=c=d"]),
        ({"model_option": "a=b"}, ["--model-option=a=b"]),
        ({"hop": "-1"}, ["--hop=-1"]),
    ],
)
def test_parameters_are_flags(parameters, flags):
    assert flags_of(parameters) == flags


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"prune": "yes"}, "prune needs true or false, got 'yes'"),
        ({"input": '["gs://b/a"'}, "input needs one value, or several as a JSON list"),
        ({"input": "[]"}, "input needs one value"),
        ({"input": "[1]"}, "input needs one value"),
        ({"input": '["gs://b/a", "--prune"]'}, "looks like a flag: '--prune'"),
    ],
)
def test_parameters_that_are_none(parameters, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        flags_of(parameters)


def told(*more):
    """What the launcher's arguments mean, without what all launches have."""
    return launched([*LAUNCHED, *more])


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (["--project=p", "--region=r"], ["--project=p", "--region=r"]),
        (["--machine_type=m", "--disk_size_gb=9"], ["--machine-type=m", "--disk-size=9"]),
        (["--max_num_workers=3"], ["--workers=3"]),
        (["--service_account_email=a@b"], ["--service-account=a@b"]),
        (["--sdk_container_image=i"], ["--sdk-container-image=i"]),
        (["--no_use_public_ips"], ["--no-public-ips"]),
        (["--use_public_ips=false"], ["--no-public-ips"]),
        (["--use_public_ips=true"], []),
        (['--labels={"a": "b", "c": "d"}'], ["--label=a=b", "--label=c=d"]),
        (["--labels=a=b", "--labels=c=d"], ["--label=a=b", "--label=c=d"]),
        (["--experiments=a,b", "--experiments=c"], ["--experiments=a,b", "--experiments=c"]),
        (["--worker_zone=z", "--dataflow_kms_key=k"], ["--worker_zone=z", "--dataflow_kms_key=k"]),
        (["--enable_streaming_engine=false"], []),
        (["--runner=DataflowRunner", "--staging_location=gs://b/s"], ["--temp-location=gs://b/s"]),
        (
            ["--temp_location=gs://b/t", "--staging_location=gs://b/s"],
            ["--temp-location=gs://b/t"],
        ),
    ],
)
def test_what_googles_launcher_says_is_said_in_our_flags(options, flags):
    found = told(*options)
    assert found.argv[:3] == ["--runner", "dataflow", "--detach"]
    assert found.argv[3:] == flags
    assert found.ignored == []


def test_the_job_has_the_id_of_the_folder_that_its_work_is_written_to():
    folder = "gs://b/staging/template_launches/2026-11-26_04_37_18-105494327517795773"
    found = launched(["--job_name=nightly", f"--template_location={folder}/job_object"])
    assert found.launch.job_id == "2026-11-26_04_37_18-105494327517795773"
    assert told().launch.job_id is None


def test_what_nobody_knows_is_told_and_left_out():
    assert told("--enable_launcher_vm_serial_port_logging=true").ignored == [
        "--enable_launcher_vm_serial_port_logging"
    ]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hop=1", "--hop=2"], "--hop is told twice, as '1' and as '2'"),
        (["--runner=DirectRunner"], "a template runs on DataflowRunner"),
        (["hop=1"], "options as --name=value, got 'hop=1'"),
        (["--use_public_ips=maybe"], "--use_public_ips needs true or false"),
        (["--labels={"], "--labels needs KEY=VALUE or JSON"),
    ],
)
def test_a_launch_that_contradicts_itself_is_refused(options, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        told(*options)


def test_a_launch_without_a_job_is_refused():
    with pytest.raises(UsageError, match="Google's launcher gives --template_location"):
        launched(["--job_name=nightly"])


def test_the_spec_is_json_that_anybody_reads():
    assert json.loads(text())["sdkInfo"] == {"language": "PYTHON"}


def test_an_option_of_beam_means_in_a_launch_what_the_command_says_to_use_for_it():
    both = OURS.keys() & {name.removeprefix("--") for name in OURS_ON_DATAFLOW}
    assert len(both) > 5
    assert {name: OURS[name] for name in both} == {name: OURS_ON_DATAFLOW[f"--{name}"] for name in both}
