"""Videos made by PyAV for tests; those that are `coded` tell their own time, in picture and in sound."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 48_000
SIDE = 256
CELL = 48  # pixels: four by four of them lie in every crop of 224 of a frame of 256
DARK, BRIGHT = 40, 215  # further apart than any change of brightness
TICK_S = 0.001


def coded_picture(time_s, width=SIDE, height=SIDE):
    """A frame that shows its time in ms as 16 bits around its middle: uint8 `(height, width, 3)`."""
    bits = round(time_s / TICK_S) & 0xFFFF
    cells = np.array([[(bits >> (4 * row + column)) & 1 for column in range(4)] for row in range(4)])
    picture = np.full((height, width, 3), 128, np.uint8)
    y, x = (height - 4 * CELL) // 2, (width - 4 * CELL) // 2
    shown = np.where(np.kron(cells, np.ones((CELL, CELL), int)), BRIGHT, DARK)
    picture[y : y + 4 * CELL, x : x + 4 * CELL] = shown[..., None]
    return picture


def time_shown(image, box, flipped=False, width=SIDE, height=SIDE):
    """The time that a crop of such a frame shows, in s; modulo 65.536."""
    if flipped:
        image = image[:, ::-1]
    y, x = (height - 4 * CELL) // 2 - box[1], (width - 4 * CELL) // 2 - box[0]
    bits = 0
    for row in range(4):
        for column in range(4):
            top, left = y + row * CELL, x + column * CELL
            cell = image[top + 12 : top + CELL - 12, left + 12 : left + CELL - 12]
            bits |= int(cell.mean() > 128) << (4 * row + column)
    return bits * TICK_S


def coded_sound(seconds, seed=7):
    """Noise below some kHz, which is like itself nowhere else: float32 `(samples,)` at 48 kHz."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    low = np.convolve(noise, np.hanning(12), "same")
    return (0.3 * low / np.abs(low).max()).astype(np.float32)


def time_heard(audio, sound):
    """Where in a `coded_sound` a piece of it begins, in s, found by correlation."""
    size = 1 << (len(audio) + len(sound) - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(np.asarray(audio, float), size)) * np.fft.rfft(sound, size)
    return int(np.argmax(np.fft.irfft(spectrum, size)[: len(sound)])) / RATE


def write_video(
    place,
    *,
    times_s=None,
    seconds=3.0,
    frames_per_s=10,
    picture=coded_picture,
    sound=None,
    rate=RATE,
    layout="mono",
    sound_start_s=0.0,
    container=None,
    video_codec="libx264",
    audio_codec="aac",
    pixels="yuv420p",
    rotation=0,
    options=None,
    video_options=None,
):
    """Write a video; returns the place.

    Args:
        place: path or file.
        times_s: when its frames are shown; by default `frames_per_s` of them for `seconds`.
        picture: time -> uint8 `(height, width, 3)`; None for a file of sound.
        sound: float32 `(samples,)` or `(channels, samples)`; None for a silent film without a track.
        rate: of the sound.
        layout: of its channels.
        sound_start_s: when the sound begins.
        container: FFmpeg's name; by default from the path.
        video_codec: FFmpeg's name.
        audio_codec: FFmpeg's name.
        pixels: FFmpeg's name of the pixel format.
        rotation: degrees counter-clockwise by which a player turns it.
        options: of the container.
        video_options: of the video's encoder.
    """
    if times_s is None:
        times_s = np.arange(round(seconds * frames_per_s)) / frames_per_s
    target = place if hasattr(place, "write") else str(place)
    with av.open(target, "w", format=container, options=options or {}) as output:
        video = audio = None
        if picture is not None:
            first = picture(times_s[0])
            video = output.add_stream(video_codec, rate=round(frames_per_s))
            video.height, video.width, _ = first.shape
            video.pix_fmt = pixels
            video.codec_context.time_base = Fraction(1, 1000 if video_codec == "libx264" else 30)
            if video_codec == "libx264":
                video.options = {"preset": "ultrafast", "crf": "18", **(video_options or {})}
            elif video_options:
                video.options = video_options
            if rotation:
                video.set_display_rotation(rotation)
        if sound is not None:
            sound = np.atleast_2d(np.asarray(sound, np.float32))
            audio = output.add_stream(audio_codec, rate=rate, layout=layout)
        _write_frames(output, video, times_s, picture, audio, sound, rate, sound_start_s)
    return place


def _write_frames(output, video, times_s, picture, audio, sound, rate, sound_start_s):
    """Both streams, interleaved by time."""
    block = 1024
    at, number = 0, 0
    times_s = times_s if video is not None else []
    samples = sound.shape[1] if sound is not None else 0
    while number < len(times_s) or at < samples:
        is_sound = at < samples and (
            number >= len(times_s) or sound_start_s + at / rate <= times_s[number]
        )
        if is_sound:
            _encode_sound(output, audio, sound[:, at : at + block], rate, sound_start_s + at / rate)
            at += block
        else:
            frame = av.VideoFrame.from_ndarray(picture(times_s[number]), format="rgb24")
            base = video.codec_context.time_base
            frame.pts, frame.time_base = round(times_s[number] / base), base
            output.mux(video.encode(frame))
            number += 1
    for stream in (video, audio):
        if stream is not None:
            output.mux(stream.encode(None))


def _encode_sound(output, audio, samples, rate, time_s):
    # packed: PyAV makes of it what the encoder takes, and cannot fill eight planes
    content = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(content, format="flt", layout=audio.layout.name)
    frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
    frame.pts = round(time_s * rate)
    output.mux(audio.encode(frame))


def coded_video(place, *, seconds=3.0, **options):
    """A video of coded frames and coded sound; returns the sound."""
    sound = coded_sound(seconds)
    write_video(place, seconds=seconds, **{"sound": sound, **options})
    return sound


def coded_content(**options):
    """The bytes of a coded .mp4."""
    file = io.BytesIO()
    coded_video(file, container="mp4", **options)
    return file.getvalue()


def stored_video(path):
    """A file as a listing gives it."""
    from l3core.storage import describe

    return describe(str(Path(path)))
