"""Which runner the options mean, and who is asked about a job."""

import argparse

import pytest

from launch.beam_options import RUNNERS as NAMES
from launch.flink.job_server import LOCAL
from launch.runners import RUNNERS, how_job_is, jobs_like, runner_of


def test_every_runner_that_the_command_offers_is_in_the_table():
    assert {"local", *RUNNERS} == set(NAMES)


def test_this_process_needs_no_runner():
    assert runner_of(argparse.Namespace(runner="local"), [], {}) is None


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_runner_has_what_is_asked_of_it(runner):
    jobs = jobs_like({"runner": runner, "master": "somewhere", "name": "l3flow-1"})
    assert all(callable(getattr(jobs, name)) for name in ("how_job_is", "cause_of_end", "name_of"))


def test_nobody_knows_how_the_job_of_a_later_version_is():
    job = {"runner": "spark", "master": "somewhere", "name": "l3flow-1"}
    assert jobs_like(job) is None
    assert how_job_is(job) == "unknown"


def test_a_job_without_a_runner_is_one_of_flink():
    assert how_job_is({"master": LOCAL, "name": "l3flow-1"}) == "absent"
