"""The drop-in against openl3's own values, and its errors, warnings and files."""

import functools
import http.server
import threading
import warnings

import numpy as np
import pytest
import soundfile

from l3core import openl3_api
from l3core.models import l3
from l3core.openl3_api import OpenL3Error, OpenL3Warning, get_audio_embedding, process_audio_file
from l3core.published import git_blob_sha1
from tests.golden import golden_arrays, golden_file

SECOND = np.random.default_rng(0).uniform(-0.5, 0.5, 48_000)


def relative(found, expected):
    return np.max(np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1))


@pytest.fixture(scope="module")
def weights():
    return golden_file("l3_seeded_mel256.h5")


@pytest.fixture(scope="module")
def golden():
    return golden_arrays("golden.npz")


@pytest.fixture(scope="module")
def inputs():
    return golden_arrays("inputs.npz")


@pytest.fixture(scope="module")
def model(weights):
    # mel128 has half the work of mel256
    return openl3_api.load_audio_embedding_model_from_path(str(weights), "mel128", 512)


def embed(audio, sr, **options):
    return get_audio_embedding(audio, sr, **{"hop_size": 0.5, "verbose": False} | options)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("clip", ["clip0", "clip4", "clip5", "clip6"])
def test_values_are_openl3s(model, golden, inputs, clip, center):
    grid = "center" if center else "nocenter"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OpenL3Warning)  # clip4 is silent, clip5 short
        embedding, timestamps = embed(inputs[f"{clip}_48000"], 48_000, model=model, center=center)
    assert embedding.dtype == np.float32
    assert relative(embedding, golden[f"openl3-0.4/{clip}/mel128/512/{grid}"]) < 1e-4
    np.testing.assert_array_equal(timestamps, golden[f"timestamps/{clip}/{grid}"])


def test_values_are_openl3s_from_raw_44100_hz_and_in_lists(model, golden, inputs):
    signals = [inputs["clip1_44100"], inputs["clip2_48000"]]
    embeddings, timestamps = embed(signals, [44_100, 48_000], model=model)
    assert isinstance(embeddings, list)
    for clip, embedding, times in zip(("clip1", "clip2"), embeddings, timestamps):
        assert relative(embedding, golden[f"openl3-0.4/{clip}/mel128/512/center"]) < 1e-4
        np.testing.assert_array_equal(times, golden[f"timestamps/{clip}/center"])


def test_one_rate_serves_a_list(model):
    embeddings, _ = embed([np.tile(SECOND, 2), SECOND], 48_000, model=model, center=True)
    # 0.5 s of zeros in front: 2.5 s hold windows at 0, 0.5, 1 and 1.5 s; 1.5 s at 0 and 0.5 s
    assert [len(embedding) for embedding in embeddings] == [4, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": np.zeros(0)}, "Got empty audio"),
        ({"audio": np.ones((4, 4, 4))}, "1D or 2D"),
        ({"audio": "invalid"}, "audio must be type"),
        ({"sr": "invalid"}, "sr must be type"),
        ({"sr": -1}, "Invalid sample rate -1"),
        ({"sr": [48_000, 48_000]}, r"number of audio inputs \(1\).*rates \(2\)"),
        ({"hop_size": 0}, "Invalid hop size 0"),
        ({"hop_size": -1}, "Invalid hop size -1"),
        ({"hop_size": 1e-6}, "less than a sample"),
        ({"hop_size": "x"}, "Invalid hop size x"),
        ({"center": "invalid"}, "Invalid center value invalid"),
        ({"input_repr": "invalid"}, "Invalid input representation"),
        ({"content_type": "invalid"}, "Invalid content type"),
        ({"embedding_size": 42}, "Invalid embedding size"),
        ({"embedding_size": "invalid"}, "Invalid embedding size"),
        ({"verbose": -1}, "Invalid verbosity"),
        ({"model": "invalid"}, "Must be of type tf.keras.Model"),
        ({"frontend": "invalid"}, "Invalid frontend"),
        ({"frontend": "librosa", "input_repr": "mel128"}, "use frontend='kapre'"),
    ],
)
def test_wrong_arguments_are_openl3s_errors(model, change, message):
    with pytest.raises(OpenL3Error, match=message):
        get_audio_embedding(**{"audio": SECOND, "sr": 48_000, "model": model, "verbose": False} | change)


def test_silence_and_short_audio_warn(model):
    with pytest.warns(OpenL3Warning, match="all zeros"):
        embed(np.zeros(48_000), 48_000, model=model, center=False)
    with pytest.warns(OpenL3Warning, match="shorter than window size"):
        embedding, timestamps = embed(SECOND[:48], 48_000, model=model, center=False)
    assert embedding.shape == (1, 512)
    assert timestamps.tolist() == [0.0]


def test_preprocess_audio_gives_what_a_model_takes(model):
    windows = openl3_api.preprocess_audio(SECOND, 48_000, hop_size=0.5, center=False)
    assert windows.shape == (1, 1, 48_000)
    direct, _ = embed(SECOND, 48_000, model=model, center=False)
    np.testing.assert_allclose(model.predict(windows, verbose=0), direct, rtol=1e-6)


def test_process_audio_file(model, tmp_path, capsys):
    clip = tmp_path / "in" / "a clip.wav"
    clip.parent.mkdir()
    soundfile.write(clip, SECOND, 48_000)
    process_audio_file(str(clip), model=model, hop_size=0.5)
    process_audio_file([str(clip)], output_dir=str(tmp_path), suffix="x", model=model, hop_size=0.5)
    beside, named = clip.with_suffix(".npz"), tmp_path / "a clip_x.npz"
    saved = np.load(beside)
    expected, timestamps = embed(soundfile.read(clip)[0], 48_000, model=model)
    np.testing.assert_array_equal(saved["embedding"], expected)
    np.testing.assert_array_equal(saved["timestamps"], timestamps)
    assert named.exists()
    beside.write_text("mine")
    process_audio_file(str(clip), model=model)
    assert "overwriting not enabled" in capsys.readouterr().out
    assert beside.read_text() == "mine"
    process_audio_file(str(clip), model=model, hop_size=0.5, overwrite=True, verbose=False)
    np.testing.assert_array_equal(np.load(beside)["embedding"], expected)


def test_process_audio_file_names_the_file_it_cannot_use(model, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("This is not an audio file.")
    with pytest.raises(OpenL3Error, match="Could not open file"):
        process_audio_file(str(text), model=model, verbose=False)
    with pytest.raises(OpenL3Error, match="could not be found"):
        process_audio_file(str(tmp_path / "none.wav"), model=model, verbose=False)
    with pytest.raises(OpenL3Error, match="filepath should be"):
        process_audio_file(3, model=model)


def test_output_paths_are_openl3s():
    path = openl3_api.get_output_path
    assert path("/a/b.wav", ".npz") == "/a/b.npz"
    assert path("/a/b.wav", "suffix.npz", output_dir="/c") == "/c/b_suffix.npz"


def test_videos_are_not_embedded():
    with pytest.raises(OpenL3Error, match="process_video_file is not here"):
        openl3_api.process_video_file("video.mp4")


@pytest.fixture
def published(weights, tmp_path, monkeypatch):
    """The seeded weights in the place of openl3's mel128 music file, on a local server."""
    name = "openl3_audio_mel128_music-v0_4_0.h5.gz"
    (tmp_path / name).write_bytes(weights.read_bytes())
    monkeypatch.setitem(l3.BLOBS, ("mel128", "music"), git_blob_sha1(weights.read_bytes()))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = functools.partial(_QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("L3FLOW_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
    openl3_api._embedder.cache_clear()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_without_a_model_the_published_weights_are_fetched(published, golden, inputs):
    for center, grid in ((True, "center"), (False, "nocenter")):
        embedding, _ = embed(
            inputs["clip0_48000"], 48_000, input_repr="mel128", embedding_size=512, center=center
        )
        assert relative(embedding, golden[f"openl3-0.4/clip0/mel128/512/{grid}"]) < 1e-4
    loaded = openl3_api.load_audio_embedding_model("mel128", "music", 512)
    assert loaded.output_shape == (None, 512)
