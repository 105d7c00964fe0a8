"""Bad videos: each has a word and a sentence, none hangs, and the next one is decoded."""

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from l3core.avc import decoding
from l3core.avc.errors import VIDEO_STATUSES, VideoError
from l3core.avc.frames import refuse_too_large, upright
from l3core.avc.moments import MomentSettings, sample_video
from l3core.avc.process import own_process
from l3core.avc.video import VideoLimits
from l3core.storage import absent, describe
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


def sampled(path, *, limits=LIMITS, per_video=8):
    return sample_video(stored_video(path), "video", MomentSettings(per_video=per_video), limits)


def refusal(path, **options):
    with pytest.raises(VideoError) as error:
        sampled(path, **options)
    assert error.value.status in VIDEO_STATUSES
    assert "\n" not in error.value.message
    return error.value.status, error.value.message


def test_a_video_without_sound(tmp_path):
    write_video(tmp_path / "a.mp4")
    assert refusal(tmp_path / "a.mp4") == ("no-audio", "there is no sound")


def test_a_video_without_picture(tmp_path):
    write_video(tmp_path / "a.mp4", picture=None, sound=coded_sound(3))
    assert refusal(tmp_path / "a.mp4") == ("no-picture", "there is sound only")


def test_a_single_frame(tmp_path):
    coded_video(tmp_path / "a.mp4", times_s=[1.0])
    status, message = refusal(tmp_path / "a.mp4")
    assert (status, message) == ("no-picture", "there is a single frame that can be decoded")


def test_half_a_second(tmp_path):
    coded_video(tmp_path / "a.mp4", seconds=0.5)
    status, message = refusal(tmp_path / "a.mp4")
    assert status == "too-short"
    assert message.startswith("needs a second of unbroken sound, has 0.5")


def test_sound_that_ends_before_the_picture_begins(tmp_path):
    coded_video(tmp_path / "a.mp4", seconds=2, times_s=[4.0, 4.1, 4.2])
    assert refusal(tmp_path / "a.mp4") == (
        "too-short",
        "no frame is shown during a whole second of sound",
    )


def test_sound_that_is_shorter_than_the_picture(tmp_path):
    sound = coded_sound(1.5)
    write_video(tmp_path / "a.mp4", seconds=6, sound=sound)
    video = sampled(tmp_path / "a.mp4")
    assert len(video.moments) == 8
    assert all(one.audio_start_s < 0.55 and one.image_s < 1.55 for one in video.moments)


def test_silence(tmp_path):
    write_video(tmp_path / "a.mp4", sound=np.zeros(3 * RATE))
    assert refusal(tmp_path / "a.mp4") == ("silent", "all of 8 seconds are digital silence")


def test_some_silence_is_no_matter(tmp_path):
    sound = coded_sound(6)
    sound[: 3 * RATE] = 0
    write_video(tmp_path / "a.mp4", sound=sound, seconds=6)
    assert len(sampled(tmp_path / "a.mp4", per_video=20).moments) == 20


@pytest.mark.parametrize("shade", [0, 200])
def test_frames_of_one_colour(tmp_path, shade):
    def plain(time_s):
        return np.full((128, 160, 3), shade, np.uint8)

    write_video(tmp_path / "a.mp4", picture=plain, sound=coded_sound(3))
    assert refusal(tmp_path / "a.mp4") == ("black", "all of 8 frames are of one colour")


def hold_before(video, sound, end_s):
    """Hold that there are moments, all right and before a time."""
    assert video.moments
    for one in video.moments:
        assert one.audio_start_s + 1 <= end_s
        assert time_shown(one.image, one.box, one.flipped) == pytest.approx(one.image_s, abs=0.002)
        assert time_heard(one.audio, sound) == pytest.approx(one.audio_start_s, abs=0.001)


@pytest.mark.parametrize("rubbish", ["zeros", "noise"])
def test_damage_in_the_middle(tmp_path, rubbish):
    path = tmp_path / "a.mp4"
    sound = coded_video(path, seconds=10, video_options={"g": "10"})
    content = bytearray(path.read_bytes())
    first, last = len(content) // 2, len(content) * 3 // 5
    noise = np.random.default_rng(0).bytes(last - first)
    content[first:last] = noise if rubbish == "noise" else bytes(last - first)
    path.write_bytes(content)
    video = sampled(path, per_video=30)
    hold_before(video, sound, 5.6)
    assert 4 < len(video.moments) < 20
    assert video.note.startswith(f"{len(video.moments)} of 30 moments: the ")
    assert "is damaged at" in video.note


def test_a_picture_is_never_made_up(tmp_path):
    """Where only a part of a frame is damaged, FFmpeg by itself would show what was there before."""
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (10, SIDE, SIDE, 3), dtype=np.uint8)

    def picture(time_s):
        return noise[round(time_s * 10) % 10] // 4 + coded_picture(time_s) // 2

    write_video(path, picture=picture, seconds=8, sound=coded_sound(8), video_options={"g": "10"})
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    packet = next(one for one in packets if one.is_keyframe and one.pts * one.time_base >= 4)
    content = bytearray(path.read_bytes())
    middle = packet.pos + packet.size // 2
    content[middle : middle + 40] = np.random.default_rng(1).bytes(40)
    path.write_bytes(content)
    video = sampled(path, per_video=24)
    assert "the picture is damaged at 4.000 s" in video.note
    assert all(one.audio_start_s + 1 <= 4 for one in video.moments)


def test_a_file_that_was_cut(tmp_path):
    path = tmp_path / "a.mp4"
    sound = coded_video(path, seconds=10, options={"movflags": "faststart"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = sampled(path)
    hold_before(video, sound, 6.0)
    assert video.note is not None


def test_a_file_without_its_end_that_tells_where_everything_is(tmp_path):
    path = tmp_path / "a.mp4"
    coded_video(path)
    path.write_bytes(path.read_bytes()[:-4000])
    status, message = refusal(path)
    assert status == "unreadable"
    assert message.startswith("not a video that can be read: ")


def test_damage_all_over(tmp_path):
    path = tmp_path / "a.mp4"
    coded_video(path)
    content = bytearray(path.read_bytes())
    media = content.index(b"mdat") + 4
    content[media : content.index(b"moov") - 4] = bytes(content.index(b"moov") - 4 - media)
    path.write_bytes(content)
    status, _ = refusal(path)
    assert status in ("unreadable", "no-picture", "too-short")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_sound_that_is_no_number(tmp_path, bad):
    sound = coded_sound(6)
    sound[3 * RATE :] = bad
    options = {"audio_codec": "pcm_f32le", "seconds": 6}
    write_video(tmp_path / "half.mkv", sound=sound, **options)
    video = sampled(tmp_path / "half.mkv", per_video=20)
    assert 3 < len(video.moments) < 15
    assert "is not finite" in video.note
    assert all(one.audio_start_s < 2.01 for one in video.moments)
    write_video(tmp_path / "all.mkv", sound=np.full(6 * RATE, bad), **options)
    status, message = refusal(tmp_path / "all.mkv")
    assert status == "unreadable"
    assert message.endswith("is not finite")


def test_8k_is_decoded_in_less_than_two_gigabytes(tmp_path):
    path = tmp_path / "a.mp4"
    little = coded_picture(0.0)
    large = np.kron(little[:144], np.ones((30, 30, 1), np.uint8))
    write_video(path, times_s=[0, 0.6], picture=lambda time_s: large, sound=coded_sound(2))
    video = sampled(path, per_video=2)
    assert (video.facts.width, video.facts.height) == (7680, 4320)
    assert len(video.moments) == 2
    status = Path(f"/proc/{own_process().pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 2 * 2**20
    refused = refusal(path, limits=VideoLimits(memory_mb=400))
    assert refused == ("out-of-memory", "decoding needs more memory than it may have: 400 MiB")


def test_frames_that_are_too_large():
    refuse_too_large(8192, 8192)
    with pytest.raises(VideoError, match="frames of 16384 x 8192: at most 67108864 pixels"):
        refuse_too_large(16_384, 8192)
    line = av.VideoFrame(4096, 16, "rgb24")
    with pytest.raises(VideoError, match="one side is too long"):
        upright(line, None)


def test_a_file_of_too_many_bytes(tmp_path):
    coded_video(tmp_path / "a.mp4")
    status, message = refusal(tmp_path / "a.mp4", limits=VideoLimits(bytes=1000))
    assert status == "too-large"
    assert message.endswith("bytes; at most 1000 are decoded")


TEXTS = {
    "text.mp4": b"this is not a video\n" * 40,
    "page.mp4": b"<!DOCTYPE html><html><body><video src='a.mp4'></video></body></html>",
    "nothing.mp4": b"",
    "zeros.mp4": bytes(5000),
    "noise.mp4": np.random.default_rng(0).bytes(5000),
    "head.mp4": coded_content(seconds=1.0)[:600],
}


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_no_video(tmp_path, name):
    (tmp_path / name).write_bytes(TEXTS[name])
    status, message = refusal(tmp_path / name)
    assert status == "unreadable"
    assert message.startswith(("not a video that can be read: ", "the file is empty"))


def test_a_gif(tmp_path):
    frames = [Image.fromarray(coded_picture(time_s)) for time_s in (0, 0.5, 1)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=500)
    assert refusal(tmp_path / "a.gif") == ("no-audio", "there is no sound")


def test_a_cover_is_no_video(tmp_path):
    write_video(tmp_path / "a.mp3", picture=None, sound=coded_sound(3), audio_codec="mp3")
    cover = io.BytesIO()
    Image.fromarray(coded_picture(0.0)).save(cover, "PNG")
    body = b"\0image/png\0\3\0" + cover.getvalue()
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\0\0" + body
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    path = tmp_path / "cover.mp3"
    path.write_bytes(b"ID3\3\0\0" + size + frame + (tmp_path / "a.mp3").read_bytes())
    with av.open(str(path)) as container:
        assert container.streams.video  # FFmpeg takes it for one
    assert refusal(path) == ("no-picture", "there is sound only; a cover is no video")


def playlists(folder):
    """Text that names another file, in the ways that FFmpeg follows."""
    target = folder / "target.ts"
    coded_video(target, seconds=3)
    hls = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{target}\n#EXT-X-ENDLIST\n"
    return {"hls": hls, "concat": "ffconcat version 1.0\nfile target.ts\n"}


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_a_playlist_names_nothing_that_is_read(tmp_path, kind):
    path = tmp_path / "list.m3u8"
    path.write_text(playlists(tmp_path)[kind])
    with av.open(str(path)) as container:  # FFmpeg by itself reads what it names
        assert container.streams.video
    status, message = refusal(path)
    assert status == "unreadable"
    assert message.startswith("not a video that can be read")


def test_each_option_alone_keeps_a_playlist_from_reading(tmp_path, monkeypatch):
    """That there are no descriptors left is the third lock: test_process."""
    coded_video(tmp_path / "target.ts")
    content = f"ffconcat version 1.0\nfile {tmp_path / 'target.ts'}\n".encode()

    def looked(**options):
        monkeypatch.setattr(decoding, "OPTIONS", {"safe": "0", **options})
        return decoding.look(io.BytesIO(content))

    options = dict(decoding.OPTIONS)
    assert sorted(options) == ["format_whitelist", "protocol_whitelist"]
    assert len(looked().frames_s) == 30  # without them it is read
    for name, value in options.items():
        with pytest.raises(VideoError, match="not a video that can be read"):
            looked(**{name: value})


def test_files_that_are_gone_or_other_than_listed(tmp_path):
    path = tmp_path / "a.mp4"
    coded_video(path)
    listed = describe(str(path))
    for change, status in ((lambda: path.write_bytes(b"other"), "changed"), (path.unlink, "vanished")):
        change()
        with pytest.raises(VideoError) as error:
            sample_video(listed, "video", MomentSettings(), LIMITS)
        assert error.value.status == status
    with pytest.raises(VideoError) as error:
        sample_video(absent(str(path)), "video", MomentSettings(), LIMITS)
    assert error.value.status == "vanished"


def test_the_error_travels():
    import pickle

    error = pickle.loads(pickle.dumps(VideoError("no-audio", "there is no sound")))
    assert (error.status, error.message, str(error)) == ("no-audio", *["there is no sound"] * 2)
