"""The toy corpus: the same again from a seed, and its sound really follows from its picture."""

import colorsys
import io
import json
from collections import Counter
from itertools import product

import av
import numpy as np
import pytest
import soundfile

from l3core.avc import toy as toys
from l3core.avc.moments import MomentSettings, sample_video
from l3core.avc.toy import ToySettings, make_toy_corpus, toys_of
from l3core.avc.toy_kinds import KINDS, NOISES, PITCHES, Toy, draw_toy, frequency_of, hue_of, sound_of
from l3core.avc.toy_video import toy_video
from l3core.avc.video import VideoLimits
from l3core.datasets import DATASETS, read_dataset
from l3core.datasets.esc50 import ESC10
from l3core.errors import UsageError
from launch.main import main
from tests.videos import stored_video

FEW = ToySettings(videos=3, seconds=1.5, width=96, height=64)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "corpus"
    return folder, make_toy_corpus(str(folder), FEW)


def video_of(kind, pitch, noise=0.2, seed=0, **options):
    generator = np.random.default_rng(seed)
    settings = {"seconds": 2.0, "width": 256, "height": 256, **options}
    return toy_video(Toy(kind, pitch, noise), generator=generator, **settings)


def test_what_is_made(corpus):
    folder, made = corpus
    assert made == (3, 100, True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "sounds",
        "toy.json",
        "videos",
        "videos.csv",
    ]
    assert sorted(path.name for path in (folder / "videos").iterdir()) == [
        "0000.mp4",
        "0001.mp4",
        "0002.mp4",
    ]
    rows = (folder / "videos.csv").read_text().splitlines()
    expected = toys_of(FEW)
    assert rows[0] == "video,shape,pitch,noise"
    assert rows[1].startswith(f"0000.mp4,{KINDS[expected[0].kind].name},{expected[0].pitch:.4f},")
    assert json.loads((folder / "toy.json").read_text())["videos"] == 3


def test_the_sounds_are_laid_out_as_esc_10(corpus):
    """So that crossval takes them as they are."""
    folder, _ = corpus
    copy = read_dataset(DATASETS["esc10"], str(folder / "sounds"), allow_partial=True)
    assert len(copy.clips) == 100
    assert Counter((clip.label, clip.fold) for clip in copy.clips) == dict.fromkeys(
        product(ESC10.classes, range(1, 6)), 2
    )
    path = next((folder / "sounds" / "audio").iterdir())
    assert soundfile.info(path).samplerate == 48_000
    assert soundfile.info(path).frames == 72_000


def test_the_videos_are_sampled(corpus):
    folder, _ = corpus
    path = folder / "videos" / "0001.mp4"
    video = sample_video(stored_video(path), "a", MomentSettings(per_video=4), VideoLimits())
    assert len(video.moments) == 4
    assert video.facts.video_codec == "h264"
    assert video.facts.audio_codec == "aac"
    assert (video.facts.width, video.facts.height) == (96, 64)


def test_the_same_seed_makes_the_same_and_another_seed_something_else():
    assert video_of(0, 1.0) == video_of(0, 1.0)
    assert video_of(0, 1.0) != video_of(0, 1.0, seed=1)
    assert toys_of(ToySettings(seed=1)) == toys_of(ToySettings(seed=1))
    assert toys_of(ToySettings(seed=1)) != toys_of(ToySettings(seed=2))


def test_no_sound_of_a_fold_is_in_a_video_or_another_fold(corpus):
    folder, _ = corpus
    contents = {path.read_bytes() for path in (folder / "sounds" / "audio").iterdir()}
    assert len(contents) == 100


def test_all_kinds_pitches_and_noises_come_as_often():
    found = toys_of(ToySettings(videos=300))
    pairs = [(toy.kind, round(toy.pitch), round(toy.noise)) for toy in found]
    assert {pairs.count(pair) for pair in pairs} == {2}
    assert len(set(pairs)) == len(KINDS) * PITCHES * NOISES == 150
    # so few others fit a video that chance agreements are rare
    assert len({kind.name for kind in KINDS}) == len(KINDS) == 10


@pytest.mark.parametrize(("kind", "pitch"), [(0, 0.0), (1, 4.0), (4, 2.0)])
def test_hue_tells_pitch(kind, pitch):
    """The most colourful pixels of a frame, and the strongest partial of the sound."""
    with av.open(io.BytesIO(video_of(kind, pitch))) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24").reshape(-1, 3)
        container.seek(0)
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    colour = picture[np.argsort(np.ptp(picture.astype(int), axis=1))[-500:]].mean(axis=0) / 255
    hue, saturation, _ = colorsys.rgb_to_hsv(*colour)
    assert saturation > 0.6
    assert hue == pytest.approx(hue_of(pitch), abs=0.03)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    strong = spectrum.argmax() * 48_000 / len(sound)
    assert strong == pytest.approx(frequency_of(pitch), rel=0.02)


@pytest.mark.parametrize(("pitch", "beats_hz"), [(0.0, 1.5), (2.0, 6.0), (4.0, 24.0)])
def test_pitch_tells_how_fast_it_beats(pitch, beats_hz):
    """The strongest swelling of the sound's power."""
    sound = sound_of(Toy(0, pitch, 0.2), 96_000, 1.0, np.random.default_rng(0)).astype(float)
    power = (sound**2).reshape(-1, 480).sum(axis=1)
    swelling = np.abs(np.fft.rfft(power - power.mean()))
    assert swelling.argmax() / 2 == pytest.approx(beats_hz, abs=0.5)


def test_the_background_tells_how_loud_the_noise_is():
    """What the noise adds to the same tone, against that."""

    def background_and_noise_db(noise):
        with av.open(io.BytesIO(video_of(0, 0.0, noise))) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        grey = np.ptp(picture, axis=2) < 40
        tone, both = (
            sound_of(Toy(0, 0.0, level), 48_000, 1.0, np.random.default_rng(0)).astype(float)
            for level in (-10.0, noise)
        )
        return picture[grey].mean(), 20 * np.log10((both - tone).std() / tone.std())

    dark, quiet_db = background_and_noise_db(0.0)
    bright, loud_db = background_and_noise_db(2.0)
    assert dark == pytest.approx(25, abs=10)
    assert bright == pytest.approx(230, abs=10)
    assert quiet_db == pytest.approx(-36, abs=1)
    assert loud_db == pytest.approx(0, abs=1)


def test_kinds_look_and_sound_different():
    """Of equal pitch: by their partials, or by how they swell within a second."""

    def heard(kind):
        sound = sound_of(Toy(kind, 2.0, 0.2), 48_000, 1.0, np.random.default_rng(0)).astype(float)
        power = (np.abs(np.fft.rfft(sound.reshape(-1, 2400) * np.hanning(2400), axis=1)) ** 2).mean(
            axis=0
        )
        swelling = np.abs(np.fft.rfft((sound**2).reshape(-1, 480).sum(axis=1)))
        return 10 * np.log10(power / power.max() + 1e-3), swelling[1:] / swelling[0]

    for one in range(len(KINDS)):
        for other in range(one):
            assert KINDS[one].polygons != KINDS[other].polygons
            (partials, swelling), (others, otherwise) = heard(one), heard(other)
            apart_db = np.abs(partials - others).max()
            assert apart_db > 10 or np.abs(swelling - otherwise).max() > 0.2, (one, other)


def test_there_is_noise_in_the_sound_and_it_never_clips():
    for seed in range(20):
        generator = np.random.default_rng(seed)
        sound = sound_of(
            draw_toy(generator, kind=seed % 10, step=seed % PITCHES, noise=seed % 3),
            48_000,
            1.0,
            generator,
        )
        assert np.abs(sound).max() < 32_767
        assert np.std(sound) > 300


def test_a_corpus_that_is_there_is_left_alone(corpus, monkeypatch):
    folder, _ = corpus
    monkeypatch.setattr(toys, "toy_video", None)  # nothing is made
    assert make_toy_corpus(str(folder), FEW) == (3, 100, False)
    with pytest.raises(UsageError, match="toy corpus with other settings"):
        make_toy_corpus(str(folder), ToySettings(videos=4))


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(UsageError, match=r"something else in it \(thesis.tex\)"):
        make_toy_corpus(str(tmp_path), FEW)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"videos": 0}, "--videos needs at least 1"),
        ({"seconds": 0.5}, "--seconds needs 1 to 3600"),
        ({"seed": -1}, "--seed needs at least 0"),
        ({"width": 255}, "even sides of 32 to 4096, got 255x256"),
        ({"height": 8192}, "got 256x8192"),
    ],
)
def test_settings_have_to_make_sense(fields, problem):
    with pytest.raises(UsageError, match=problem):
        ToySettings(**fields)


def test_the_command_again_on_what_is_there(corpus, capsys):
    folder, _ = corpus
    options = ["avc", "toy", str(folder), "--videos", "3", "--seconds", "1.5", "--size", "96x64"]
    assert main([*options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "made": False,
        "videos": 3,
        "sounds": 100,
        "videos_folder": str(folder / "videos"),
        "sounds_folder": str(folder / "sounds"),
    }
    assert main(options) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"3 videos in {folder / 'videos'}, there already"
    assert main([*options, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--size", "big"], "--size: needs WIDTHxHEIGHT as 256x256, got 'big'"),
        (["--size", "255x256"], "--size needs even sides"),
        (["--seconds", "0.5"], "--seconds needs 1 to 3600"),
        (["--videos", "0"], "--videos: needs at least 1"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, capsys, options, problem):
    assert main(["avc", "toy", str(tmp_path / "new"), *options]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()
