"""What all tests share: the fake model, and no accelerator."""

import os
import uuid

import fsspec
import pytest

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests import fake_model
from tests.emulators import NO_CREDENTIALS, S3_ENVIRONMENT, environment, gcs_emulator, s3_emulator

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
    """URL of S3."""
    with s3_emulator() as url, environment(AWS_ENDPOINT_URL=url, **S3_ENVIRONMENT):
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        yield url
    fsspec.get_filesystem_class("s3").clear_instance_cache()


@pytest.fixture(params=["gs", "s3"])
def bucket(request):
    """URI of an empty bucket."""
    name = f"b-{uuid.uuid4().hex[:12]}"
    if request.param == "gs":
        emulator = request.getfixturevalue("gcs")
        emulator.clear()
        return emulator.make_bucket(name)
    request.getfixturevalue("s3")
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}"


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
