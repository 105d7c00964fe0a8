"""The frame, the second and what is said of both agree: on videos that tell their own time."""

import io
import subprocess
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from l3core.avc import moments
from l3core.avc.decoding import look
from l3core.avc.errors import VideoError
from l3core.avc.frames import upright
from l3core.avc.moments import MomentSettings, sample_video, second_of
from l3core.avc.process import own_process
from l3core.avc.taking import take
from l3core.avc.video import VideoLimits
from l3core.avc.wanted import Wanted
from l3core.storage import describe
from tests.videos import (
    RATE,
    SIDE,
    coded_content,
    coded_picture,
    coded_sound,
    coded_video,
    stored_video,
    time_heard,
    time_shown,
    write_video,
)

LIMITS = VideoLimits(seconds=60)
FRAME_S, SAMPLE_S = 0.0011, 1.5 / RATE
# A frame at 0, then four in quick succession, a long one, and so on.
UNEVEN = np.cumsum([0.0, *[0.02, 0.03, 0.01, 0.4, 0.1, 0.07] * 6])


def sampled(path, *, id_="video", limits=LIMITS, **fields):
    return sample_video(stored_video(path), id_, MomentSettings(**fields), limits)


def refused(path, **fields):
    with pytest.raises(VideoError) as error:
        sampled(path, **fields)
    return error.value


def hold(video, sound, *, sound_start_s=0.0, heard_s=SAMPLE_S, width=SIDE, height=SIDE):
    """Hold that each moment shows and sounds the time that it says."""
    for one in video.moments:
        assert one.image.shape == (224, 224, 3)
        assert one.image.dtype == np.uint8
        assert one.audio.shape == (48_000,)
        assert one.audio.dtype == np.int16
        shown_s = time_shown(one.image, one.box, one.flipped, width, height)
        assert shown_s == pytest.approx(one.image_s, abs=FRAME_S)
        assert one.audio_start_s <= one.image_s < one.audio_start_s + 1
        start_s = sound_start_s + time_heard(one.audio, sound)
        assert start_s == pytest.approx(one.audio_start_s, abs=heard_s)


@pytest.mark.parametrize(
    ("name", "options", "heard_s"),
    [
        ("constant.mp4", {}, SAMPLE_S),
        ("uneven.mp4", {"times_s": UNEVEN}, SAMPLE_S),
        ("uneven.mkv", {"times_s": UNEVEN, "audio_codec": "flac"}, FRAME_S),
        ("late-picture.mp4", {"times_s": 0.7 + UNEVEN}, SAMPLE_S),
        ("late-sound.mp4", {"sound_start_s": 0.9}, FRAME_S),  # its list of edits counts in ms
        ("late-sound.mkv", {"sound_start_s": 1.3, "audio_codec": "pcm_s16le"}, FRAME_S),
        ("early-sound.mkv", {"sound_start_s": -0.5, "options": {"avoid_negative_ts": "0"}}, FRAME_S),
        ("transport.ts", {"times_s": UNEVEN}, None),
        ("old.avi", {"video_codec": "mpeg4", "audio_codec": "mp3", "frames_per_s": 30}, None),
        ("web.webm", {"video_codec": "libvpx", "audio_codec": "libopus", "frames_per_s": 30}, FRAME_S),
        (
            "reordered.mp4",
            {"times_s": UNEVEN, "video_options": {"preset": "medium", "bf": "3", "g": "7"}},
            SAMPLE_S,
        ),
    ],
)
def test_time_shown_time_heard_and_time_said_agree(tmp_path, name, options, heard_s):
    sound = coded_video(tmp_path / name, seconds=3.0, **options)
    video = sampled(tmp_path / name, per_video=12)
    assert len(video.moments) == 12
    assert video.note is None
    late_s = options.get("sound_start_s", 0.0)
    if heard_s is not None:
        hold(video, sound, sound_start_s=late_s, heard_s=heard_s)
        return
    # the clock of such a file begins elsewhere, for picture and sound alike; codecs add a little delay
    shown = [time_shown(one.image, one.box, one.flipped) - one.image_s for one in video.moments]
    heard = [time_heard(one.audio, sound) - one.audio_start_s for one in video.moments]
    assert max(shown) - min(shown) < FRAME_S
    assert max(heard) - min(heard) < FRAME_S
    assert np.mean(shown) == pytest.approx(np.mean(heard), abs=0.05)


@pytest.mark.parametrize("group", [75, 250])
def test_a_clip_that_was_cut_out_without_encoding(tmp_path, group):
    """It begins within a group of pictures: the keyframe is there and is not shown."""
    import imageio_ffmpeg

    whole, clip, cut_s = tmp_path / "whole.mp4", tmp_path / "clip.mp4", 2.52
    options = {"g": str(group), "preset": "medium", "bf": "2"}
    sound = coded_video(whole, seconds=8, frames_per_s=25, video_options=options)
    flags = ["-v", "error", "-ss", str(cut_s), "-i", whole, "-t", "4", "-c", "copy", clip]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *flags], check=True)
    with clip.open("rb") as file:  # also what is shown before the next keyframe
        assert look(file).frames_s[:2] == pytest.approx([0, 0.04])
    video = sampled(clip, per_video=8)
    assert (len(video.moments), video.note) == (8, None)
    for one in video.moments:
        shown_s = time_shown(one.image, one.box, one.flipped)
        assert shown_s == pytest.approx(cut_s + one.image_s, abs=FRAME_S)
        heard_s = time_heard(one.audio, sound)
        assert heard_s == pytest.approx(cut_s + one.audio_start_s, abs=0.03)  # cut between packets
        assert heard_s - shown_s == pytest.approx(one.audio_start_s - one.image_s, abs=0.03)


def test_moments_that_are_far_apart(tmp_path):
    """Half a minute of short groups of pictures, a few moments: most packets are jumped over."""
    path = tmp_path / "long.mp4"
    options = {"g": "8", "preset": "medium", "bf": "2"}
    sound = coded_video(path, seconds=24, frames_per_s=8, video_options=options)
    video = sampled(path, per_video=5)
    hold(video, sound)
    assert np.ptp([one.image_s for one in video.moments]) > 8  # the test is about far apart ones


def test_what_lies_between_moments_is_not_decoded(tmp_path):
    """Or the damage there would be seen, as it is where a moment touches it."""
    path = tmp_path / "a.mp4"
    coded_video(path, seconds=12, video_options={"g": "10"})
    content = bytearray(path.read_bytes())
    first, last = len(content) * 9 // 20, len(content) * 11 // 20
    content[first:last] = bytes(last - first)

    def taken(*wanted):
        problems = []
        found = list(take(io.BytesIO(content), wanted, look(io.BytesIO(content)).keyframes, problems))
        return [one.number for one in found], problems

    around = Wanted(1.0, 1.5), Wanted(9.0, 9.5)
    assert taken(*around) == ([0, 1], [])
    numbers, problems = taken(*around, Wanted(5.8, 6.0))
    assert numbers == [0]
    assert "is damaged at" in problems[0]


def test_frames_are_spread_over_the_second(tmp_path):
    coded_video(tmp_path / "a.mp4", seconds=4, frames_per_s=20)
    video = sampled(tmp_path / "a.mp4", per_video=200)
    places = np.array([one.image_s - one.audio_start_s for one in video.moments])
    starts = np.array([one.audio_start_s for one in video.moments])
    assert 0.45 < places.mean() < 0.55
    assert places.min() < 0.06
    assert places.max() > 0.94
    assert 1.3 < starts.mean() < 1.7  # of 0 to 3
    assert len(set(starts)) == 200


def test_the_same_is_taken_again_and_something_else_with_another_seed_or_name(tmp_path):
    path = tmp_path / "a.mp4"
    coded_video(path)
    first, again = sampled(path, per_video=4), sampled(path, per_video=4)
    assert first.facts == again.facts
    for one, other in zip(first.moments, again.moments):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.audio.tobytes() == other.audio.tobytes()
        assert one[2:] == other[2:]
    for others in (sampled(path, per_video=4, seed=1), sampled(path, per_video=4, id_="other")):
        for one, other in zip(first.moments, others.moments):
            assert one.audio_start_s != other.audio_start_s
            assert one.gain != other.gain


def test_a_moment_does_not_depend_on_the_others(tmp_path):
    coded_video(tmp_path / "a.mp4")
    few = sampled(tmp_path / "a.mp4", per_video=2).moments
    many = sampled(tmp_path / "a.mp4", per_video=9).moments
    for one, other in zip(few, many):
        assert one[2:] == other[2:]
        assert one.image.tobytes() == other.image.tobytes()
        assert one.audio.tobytes() == other.audio.tobytes()


def test_what_is_said_was_done(tmp_path):
    """Each augmented moment is made again from the plain one by what it says of itself."""
    path = tmp_path / "a.mp4"
    coded_video(path)
    plain = sampled(path, per_video=8, augmented=False).moments
    for one, other in zip(plain, sampled(path, per_video=8).moments):
        assert one[2:4] == other[2:4]
        assert one[4:] == (1.0, one.box, False, 1.0, 0.0)
        assert one.box == other.box  # cropped at random in any case
        np.testing.assert_array_equal(np.trunc(one.audio * other.gain).astype(np.int16), other.audio)
        image = other.image[:, ::-1] if other.flipped else other.image
        # of grey, saturation leaves nothing to see
        change = image.astype(float) - one.image
        assert np.median(change) == pytest.approx(255 * other.brightness, abs=2)
    assert {one.flipped for one in sampled(path, per_video=8).moments} == {True, False}


def test_facts(tmp_path):
    coded_video(tmp_path / "a.mp4", sound=np.stack([coded_sound(3)] * 2), layout="stereo")
    facts = sampled(tmp_path / "a.mp4", per_video=1).facts
    assert facts._replace(duration_s=0, frames_per_s=0) == (0, 256, 256, 0, RATE, 2, "h264", "aac", 0)
    assert facts.duration_s == pytest.approx(3, abs=0.05)
    assert facts.frames_per_s == pytest.approx(10)


@pytest.mark.parametrize("turned", [90, 180, 270])
def test_a_portrait_is_turned_upright(tmp_path, turned):
    """As the ffmpeg program turns it."""
    import imageio_ffmpeg

    path, still = tmp_path / "a.mp4", tmp_path / "a.rgb"

    def lying(time_s):
        # turned counter-clockwise by so much it is upright
        return np.rot90(coded_picture(time_s, 256, 320), -turned // 90)

    coded_video(path, picture=lying, rotation=turned)
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    flags = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    subprocess.run([ffmpeg, "-v", "error", "-i", path, *flags, still], check=True)
    seen = np.frombuffer(still.read_bytes(), np.uint8)
    upright = coded_picture(0.0, 256, 320)
    if np.abs(seen.reshape(320, 256, 3).astype(int) - upright).mean() > 8:  # PyAV's sign is the other
        coded_video(path, picture=lying, rotation=-turned)
        subprocess.run([ffmpeg, "-v", "error", "-y", "-i", path, *flags, still], check=True)
        seen = np.frombuffer(still.read_bytes(), np.uint8)
    assert np.abs(seen.reshape(320, 256, 3).astype(int) - upright).mean() < 8
    video = sampled(path, per_video=6)
    assert video.facts.rotation == turned
    for one in video.moments:
        shown_s = time_shown(one.image, one.box, one.flipped, 256, 320)
        assert shown_s == pytest.approx(one.image_s, abs=FRAME_S)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("flag", ["-display_hflip", "-display_vflip"])
def test_a_mirrored_video_is_seen_as_players_show_it(tmp_path, turned, flag):
    """As the ffmpeg program shows it."""
    import imageio_ffmpeg

    plain, path, still = tmp_path / "plain.mp4", tmp_path / "a.mp4", tmp_path / "a.rgb"
    write_video(plain, picture=lambda time_s: coded_picture(0.291 + time_s), seconds=0.3)
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    turn = ["-display_rotation", str(turned), flag]
    subprocess.run([*ffmpeg, *turn, "-i", plain, "-c", "copy", path], check=True)
    flags = ["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    subprocess.run([*ffmpeg, "-i", path, *flags, still], check=True)
    shown = np.frombuffer(still.read_bytes(), np.uint8).reshape(SIDE, SIDE, 3)
    with av.open(str(path)) as container:
        seen = upright(next(container.decode(video=0)), None)
    assert np.abs(seen.astype(int) - shown).mean() < 8
    for turns in (0, 2):  # nothing else would have passed
        assert np.abs(np.rot90(coded_picture(0.291), turns).astype(int) - shown).mean() > 20


@pytest.mark.parametrize("pixels", ["yuv420p", "rgb24", "yuv444p"])
def test_frames_are_shrunk_without_aliases(pixels):
    """Stripes of one pixel become even grey, and the size is as the paper's."""
    picture = np.zeros((512, 801, 3), np.uint8)
    picture[:, ::2] = 255
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
    shrunk = upright(frame, None)
    assert shrunk.shape == (256, 401, 3)
    assert np.abs(shrunk[:, 2:-2].astype(int) - 127).max() <= 8


def test_small_frames_grow_and_pixels_that_are_no_squares_are_stretched():
    frame = av.VideoFrame.from_ndarray(coded_picture(0.021)[::2, ::4], format="rgb24")
    grown = upright(frame, 2)
    assert grown.shape == (256, 256, 3)
    assert time_shown(grown[:224, :224], (0, 0)) == pytest.approx(0.021)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("seven-one.mkv", {"layout": "7.1", "audio_codec": "flac"}),
        ("planar.mkv", {"layout": "7.1", "audio_codec": "libopus"}),
        ("seven-one.mp4", {"layout": "7.1", "audio_codec": "aac"}),
        ("packed.mkv", {"layout": "7.1", "audio_codec": "pcm_s24le"}),
    ],
)
def test_channels_are_averaged(tmp_path, name, options):
    sound = coded_sound(3)
    weights = np.array([1, 1, 1, 0, 1, 1, 2, 1])[:, None]  # the fourth of 7.1 has only what is low
    coded_video(tmp_path / name, sound=weights * sound * 0.5, **options)
    video = sampled(tmp_path / name, per_video=3, augmented=False)
    assert video.facts.channels == 8
    hold(video, sound, heard_s=FRAME_S)
    one = video.moments[0]
    first = round(time_heard(one.audio, sound) * RATE)
    middle = sound[first : first + RATE] * 0.5
    assert np.std(one.audio / 32768) == pytest.approx(np.std(middle), rel=0.05)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_sound_is_resampled_to_48_khz(tmp_path, rate):
    time = np.arange(3 * rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 1000 * time)
    coded_video(tmp_path / "a.mkv", sound=tone, rate=rate, audio_codec="flac")
    for one in sampled(tmp_path / "a.mkv", per_video=3, augmented=False).moments:
        at = one.audio_start_s + np.arange(RATE) / RATE
        expected = 0.5 * np.sin(2 * np.pi * 1000 * at)
        # its beginning is exact to half a sample of the file
        error = np.abs(one.audio / 32768 - expected)[500:-500].max()
        assert error < 0.5 * np.pi * 2 * 1000 * (0.5 / rate + 0.0006)


def test_a_second_is_cut_out_of_its_margins():
    samples = np.arange(57_600, dtype=np.float32)
    assert second_of(samples, 48_000)[[0, -1]].tolist() == [4800, 52_799]
    assert len(second_of(np.zeros(52_920, np.float32), 44_100)) == 48_000


def test_memory_does_not_grow_with_length(tmp_path):
    def peak_mb():
        status = Path(f"/proc/{own_process().pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def small(time_s):
        return np.full((64, 64, 3), [int(time_s * 9) % 255, 128, 40], np.uint8)

    for seconds in (4, 200):
        sound = np.random.default_rng(0).uniform(-0.1, 0.1, seconds * 16_000)
        write_video(
            tmp_path / f"{seconds}.mkv",
            picture=lambda time_s: coded_picture(time_s, 192, 192),
            sound=sound,
            rate=16_000,
            seconds=seconds,
            frames_per_s=5,
            audio_codec="pcm_s16le",
        )
    sampled(tmp_path / "4.mkv", per_video=8)
    before = peak_mb()
    sampled(tmp_path / "200.mkv", per_video=8)
    assert peak_mb() - before < 12


def test_videos_of_a_store_are_read_through_a_copy(tmp_path):
    content = coded_content()
    (tmp_path / "a.mp4").write_bytes(content)
    with fsspec.open("memory://videos/a.mp4", "wb") as file:
        file.write(content)
    stored = sample_video(
        describe("memory://videos/a.mp4"), "video", MomentSettings(per_video=2), LIMITS
    )
    for one, other in zip(stored.moments, sampled(tmp_path / "a.mp4", per_video=2).moments):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.audio.tobytes() == other.audio.tobytes()
    fsspec.filesystem("memory").rm("/videos", recursive=True)


def test_settings_have_to_make_sense():
    with pytest.raises(ValueError, match="per_video needs at least 1, got 0"):
        MomentSettings(per_video=0)


def test_another_error_ends_the_process_that_waits(tmp_path, monkeypatch):
    """Nobody would tell it what to take, and it would take the next video's name for that."""
    coded_video(tmp_path / "a.mp4")
    sampled(tmp_path / "a.mp4", per_video=1)
    pid = own_process().pid
    monkeypatch.setattr(moments, "Choices", None)
    with pytest.raises(TypeError):
        sampled(tmp_path / "a.mp4", per_video=1)
    monkeypatch.undo()
    assert len(sampled(tmp_path / "a.mp4", per_video=1).moments) == 1
    assert own_process().pid != pid
