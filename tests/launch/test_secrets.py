"""Secrets that were planted come out nowhere: not on the screen, in logs, in tables, nor in jobs."""

import base64
import bz2
import io
import json
import pickle
import re
import secrets
import time
from urllib.parse import quote_plus

import apache_beam as beam
import fsspec
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from launch.main import main
from pipelines import embed
from tests.corpus import FLAGS, upload, write_files

PICKLED = re.compile(rb"QlpoOT[A-Za-z0-9+/=]+")  # a pickle as Beam packs it: bz2, as base64


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """name -> secret: in the environment, in files, and in Google's own files of credentials."""
    names = ("key", "secret", "session", "sas", "aws", "refresh", "client", "access")
    found = {name: f"planted{name}/{secrets.token_hex(8)}+=" for name in names}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for name in ("key", "session"):
        monkeypatch.setenv(f"PLANTED_{name.upper()}", found[name])
    monkeypatch.setenv("PLANTED_SAS", f"AccountName=a;SharedAccessSignature=sv=1&sig={found['sas']}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", found["aws"])
    for name in ("secret", "access"):
        (tmp_path / name).write_text(found[name] + "\n")
    return found | {"pem": pem, "line of the pem": pem.splitlines()[7]}


@pytest.fixture
def google(planted, gcs, tmp_path, monkeypatch):
    """Writes Google's files of credentials, which are then those of this machine."""
    path = tmp_path / "adc.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "test")
    kinds = {
        "user": {
            "type": "authorized_user",
            "client_id": "somebody",
            "client_secret": planted["client"],
            "refresh_token": planted["refresh"],
            "token": planted["access"],
            "expiry": "2099-01-01T00:00:00Z",
        },
        "service": {
            "type": "service_account",
            "client_email": "service@test.example",
            "private_key": planted["pem"],
            "token_uri": f"{gcs.url}/token",
        },
    }

    def write(kind):
        path.write_text(json.dumps(kinds[kind]))
        fsspec.get_filesystem_class("gs").clear_instance_cache()
        return path

    yield write
    fsspec.get_filesystem_class("gs").clear_instance_cache()


@pytest.fixture
def jobs(monkeypatch):
    """The jobs of all runs, as they go to workers."""
    found = []
    run_local = embed.run_local

    def noting(job, shards, *args, **kwargs):
        found.append((job, shards))
        run_local(job, shards, *args, **kwargs)

    monkeypatch.setattr(embed, "run_local", noting)
    return found


def objects(uri):
    """All that a table has, unpacked: name -> content."""
    fs, path = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    found = {}
    for name in fs.find(path):
        content = fs.cat_file(name)
        if name.endswith(".parquet"):  # packed: nobody would find a word in it
            content = repr(pq.read_table(io.BytesIO(content)).to_pylist()).encode()
        found[name] = content
    return found


def sent(job, shards):
    """What workers get of a job: its pickle, and the pipeline with all that is pickled in it."""
    pipeline = beam.Pipeline()
    embed.build_pipeline(pipeline, job, shards)
    whole = pipeline.to_runner_api().SerializeToString()
    unpacked = [bz2.decompress(base64.b64decode(part)) for part in PICKLED.findall(whole)]
    return b"\n".join([pickle.dumps(job), whole, *unpacked])


class Outputs:
    """All that runs leave."""

    def __init__(self, folder, capfd, jobs):
        self.log = folder / "log"
        self.texts = {}
        self._capfd, self._jobs = capfd, jobs

    def run(self, name, code, table, source, *options):
        command = ["embed", "--input", source, "--output", table, *FLAGS, "--log-file", str(self.log)]
        for option in options:
            command += ["--storage-option", option]
        for flags in (["--json"], ["--full"]):
            assert main([*command, *flags]) == code
        out, err = self._capfd.readouterr()
        self.texts |= {f"{name}, stdout": out, f"{name}, stderr": err}
        return out + err

    def all(self, *tables):
        found = {name: text.encode() for name, text in self.texts.items()}
        found["log"] = self.log.read_bytes()
        for number, (job, shards) in enumerate(self._jobs):
            found[f"job {number}"] = sent(job, shards)
        for table in tables:
            found |= objects(table)
        return found


@pytest.fixture
def outputs(tmp_path, capfd, jobs):
    return Outputs(tmp_path, capfd, jobs)


def leaks(planted, found):
    """Where a secret is: in the open, as base64, or as a URL has it."""
    return [
        f"{name} in {where}"
        for name, secret in planted.items()
        for where, content in found.items()
        for form in (secret, quote_plus(secret), base64.b64encode(secret.encode()).decode()[:-4])
        if form.encode() in content
    ]


def test_google(planted, google, gcs, outputs, tmp_path, monkeypatch):
    bucket = gcs.make_bucket("secrets")
    google("user")
    upload(write_files(tmp_path / "corpus", 4), f"{bucket}/corpus")
    # errors of single files are told in the ledger
    gcs.fault("^GET .*001.wav.*alt=media", status=403)
    gcs.fault("^GET .*002.wav.*alt=media", status=400)
    options = ["token=google_default", "connection_string=env:PLANTED_SAS"]
    place = (f"{bucket}/table", f"{bucket}/corpus")
    said = outputs.run("well", 0, *place, *options)
    assert "forbidden: 001.wav" in said
    assert "storage-error: 002.wav" in said
    gcs.clear()
    gcs.fault("^GET", status=403)
    assert "forbidden: these credentials may not" in outputs.run("forbidden", 2, *place, *options)
    gcs.clear()
    # a token is looked at by a service of Google's, which is in no network here
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert "access_token=***" in outputs.run("token", 1, *place, f"token=file:{tmp_path}/access")
    gcs.fault("^POST /token", status=400)
    key = google("service")
    for name, option in (("default", "token=google_default"), ("key", f"token=file:{key}")):
        start = time.monotonic()
        assert "Google credentials were refused" in outputs.run(name, 2, *place, option)
        assert time.monotonic() - start < 10
    google("user")
    gcs.clear()
    found = outputs.all(f"{bucket}/table")
    jobs = [content for name, content in found.items() if name.startswith("job")]
    assert all(content.count(b"env:PLANTED_SAS") >= 3 for content in jobs)  # we see what is in there
    assert {name.split("/")[2] for name in found if "/table/" in name} >= {"runs", "clips", "_l3flow"}
    assert len(found["log"]) > 1_000
    assert leaks(planted, found) == []


def test_amazon(planted, s3, outputs, tmp_path, monkeypatch):
    fsspec.filesystem("s3").mkdir("secrets")
    upload(write_files(tmp_path / "corpus", 2), "s3://secrets/corpus")
    place = ("s3://secrets/table", "s3://secrets/corpus")
    options = ["key=env:PLANTED_KEY", f"secret=file:{tmp_path}/secret", "token=env:PLANTED_SESSION"]
    outputs.run("well", 0, *place, *options)
    said = outputs.run("unknown", 2, *place, *options, "connection_string=env:PLANTED_SAS")
    assert "unexpected keyword argument 'connection_string'" in said
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert "credentials were not found" in outputs.run("without", 2, *place)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "emulator")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    assert leaks(planted, outputs.all("s3://secrets/table")) == []
