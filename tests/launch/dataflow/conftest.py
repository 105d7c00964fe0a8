"""An endpoint that speaks Dataflow's API, and a bucket for what is staged."""

import uuid

import pytest
from apache_beam.internal.gcp import auth

from launch.dataflow import rest
from tests.dataflow_api import dataflow_api


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(rest, "POLL_S", 0.01)
    # there are none, and Beam would look for them for half a minute
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    with dataflow_api() as server:
        yield server


@pytest.fixture
def temp(gcs):
    """URI of a folder in an empty bucket."""
    return gcs.make_bucket(f"b-{uuid.uuid4().hex[:12]}") + "/temp"
