"""SoundNet and VGGish by the command: what holds for every model holds for them."""

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from l3core.spec import EmbeddingSpec
from l3core.weights import load_weights, to_h5
from launch.main import main
from tests.corpus import ledger

SOUNDNET = ("--model", "soundnet", "--weights", "random:0", "--model-option", "layer=pool5")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for name, seconds, rate in (("long", 12, 44_100), ("short", 0.05, 44_100), ("other", 2, 8_000)):
        sound = rng.uniform(-0.3, 0.3, (round(seconds * rate), 2))
        soundfile.write(folder / f"{name}.wav", sound, rate)
    return folder


def test_soundnet_from_files_to_a_checked_table(corpus, tmp_path, capsys):
    embed = ("embed", "--input", corpus, "--output", tmp_path / "table", *SOUNDNET)
    assert main([*map(str, embed), "--quiet"]) == 0
    (path,) = (tmp_path / "table/windows").iterdir()
    clips = pq.read_table(path, columns=["clip_id"])["clip_id"].to_pylist()
    rows = {clip: clips.count(clip) for clip in clips}
    # a convolution makes n // 2 + 1, a pooling n // 8, the last one n // 4:
    # 529,200 samples, 264,601, 33,075, 16,538, 2,067, 1,034, 518, 260, 65
    # 88,200 samples (2 s of 8 kHz, resampled), 44,101, 5,512, 2,757, 344, 173, 87, 44, 11
    assert rows == {"long.wav": 65, "short.wav": 1, "other.wav": 11}
    capsys.readouterr()
    assert main(["verify", "--table", str(tmp_path / "table"), "--quiet"]) == 0
    assert main([*map(str, embed), "--quiet"]) == 0
    assert len(list((tmp_path / "table/windows").iterdir())) == 1


def test_samples_that_would_overflow_in_the_network_are_a_row_of_the_ledger(corpus, tmp_path):
    """They are finite; a pooling hides that what comes of them is not."""
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/fine.wav").symlink_to(corpus / "other.wav")
    sound = np.random.default_rng(0).uniform(-3e38, 3e38, 88_200)
    soundfile.write(tmp_path / "corpus/huge.wav", sound, 44_100, subtype="DOUBLE")
    embed = ("embed", "--input", tmp_path / "corpus", "--output", tmp_path / "table", *SOUNDNET)
    assert main([*map(str, embed), "--quiet"]) == 0
    rows = ledger(tmp_path / "table")
    assert [rows["fine.wav"][key] for key in ("status", "windows_written")] == ["ok", 11]
    assert [rows["huge.wav"][key] for key in ("status", "windows_written")] == ["unreadable", 0]
    assert rows["huge.wav"]["error"] == "samples of 3e+38, where 1 is full scale, after frame 0"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--model vggish --grid dense", "--grid must be one of paper, nocenter, center, got 'dense'"),
        ("--model soundnet --grid dense", "--grid must be one of steps, got 'dense'"),
        ("--model soundnet --engine openvino", "--engine openvino cannot run model soundnet"),
        ("--model vggish --engine openvino", "--engine openvino cannot run model vggish"),
        ("--model soundnet --hop 0.1", "--hop the steps of model soundnet are 0.743039 s apart"),
        (
            "--model vggish --model-option varient=raw",
            "no option 'varient', did you mean 'variant'?",
        ),
        ("--model soundnet --model-option rate=44100", "rate must be one of native, 22050, got '44100'"),
    ],
)
def test_what_is_refused_in_one_line(capsys, flags, line):
    assert main(["embed", "--input", "x", "--output", "y", *flags.split()]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert line in err


READS = {"vggish": "vggish_model.ckpt, for components with vggish_pca_params.npz beside it, or an .h5"}
READS["soundnet"] = "sound8.npy, or an .h5"


@pytest.mark.parametrize("model", READS)
@pytest.mark.parametrize("name", ["text.ckpt", "array.npy", "archive.npz", "other.h5", "empty", "none"])
def test_weights_that_are_none_are_refused_with_what_would_be_some(tmp_path, capsys, model, name):
    (tmp_path / "text.ckpt").write_bytes(b"<html>404</html>")
    (tmp_path / "empty").touch()
    np.save(tmp_path / "array.npy", np.ones(3))
    np.savez(tmp_path / "archive.npz", a=np.ones(3))
    edge = EmbeddingSpec(model="edgel3-sea-64")
    other = to_h5(load_weights(edge), edge.network.layer_shapes(edge))
    (tmp_path / "other.h5").write_bytes(other)
    command = ("embed", "--input", tmp_path, "--output", tmp_path / "t", "--model", model)
    assert main([*map(str, command), "--weights", str(tmp_path / name)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(tmp_path / name) in err
    assert f"model {model} reads {READS[model]} (see" in err
    assert not (tmp_path / "t").exists()
