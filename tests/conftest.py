"""What all tests share: the fake model, and no accelerator."""

import os
import uuid

import fsspec
import pytest

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests import fake_model
from tests.emulators import (
    NO_CREDENTIALS,
    S3_ENVIRONMENT,
    environment,
    gcs_emulator,
    retry_after,
    s3_emulator,
)
from tests.web import web_server

fake_model.register()


@pytest.fixture(scope="module")
def gcs():
    """Google's store, which can be made to fail."""
    with gcs_emulator() as emulator, environment(STORAGE_EMULATOR_HOST=emulator.url):
        fsspec.get_filesystem_class("gs").clear_instance_cache()
        yield emulator
    fsspec.get_filesystem_class("gs").clear_instance_cache()


@pytest.fixture(scope="module")
def s3():
    """S3, which can be made to fail."""
    with s3_emulator() as emulator, environment(AWS_ENDPOINT_URL=emulator.url, **S3_ENVIRONMENT):
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield emulator
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(scope="module")
def web_running():
    """A web server."""
    with web_server() as server:
        yield server


@pytest.fixture(params=["gs", "s3"])
def store(request):
    """(emulator, URI of an empty bucket): each store, which can be made to fail."""
    emulator = request.getfixturevalue({"gs": "gcs", "s3": "s3"}[request.param])
    emulator.clear()
    yield emulator, emulator.make_bucket(f"b-{uuid.uuid4().hex[:12]}")
    emulator.clear()


@pytest.fixture
def bucket(store):
    """URI of an empty bucket."""
    return store[1]


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """Nobody's machine: no credentials of any kind, and no cloud around it."""
    for name in (*NO_CREDENTIALS, "STORAGE_EMULATOR_HOST", "AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for protocol in ("gs", "s3"):
        fsspec.get_filesystem_class(protocol).clear_instance_cache()
    yield
    for protocol in ("gs", "s3"):
        fsspec.get_filesystem_class(protocol).clear_instance_cache()


@pytest.fixture
def impatient(monkeypatch):
    """Clients of stores try again at once."""
    retry_after(monkeypatch, 0.0)
