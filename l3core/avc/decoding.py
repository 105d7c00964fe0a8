"""What a container holds: its streams, and when they sound and show; no sample is decoded for it.

Runs in the process that decodes (`l3core.avc.child`). Times come from the packets, which costs a pass
over the file and no decoding: what a header says of a duration is wrong for damaged, cut and recorded
files, and says nothing of gaps. So where moments may lie is known before the first frame is decoded,
each is as likely as it should be, and only what leads to them has to be decoded (`l3core.avc.taking`).
"""

import os
from array import array
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from l3core.avc.errors import VideoError
from l3core.avc.frames import refuse_too_large, rotation_of, time_of
from l3core.avc.spans import Spans

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer

# Containers of video, and those of sound and of moving pictures that people take for one. None of them
# names other files, as playlists do; `protocol_whitelist` forbids that once more.
FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,live_flv,asf,ogg,mxf,nut,rm,dv,ivf,wtv,swf,gif,"
    "wav,mp3,flac,aac,aiff,caf,ac3,eac3,dts"
)
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
BUFFER_BYTES = 2**18
ATTACHED_PICTURE = 0x400  # AV_DISPOSITION_ATTACHED_PIC: a cover
MOST_FRAMES = 2**23  # 77 hours at 30 frames per second
TRIED_PACKETS = 200  # until a first frame has come
# Without it FFmpeg makes up what is damaged of a picture, and says nothing.
STRICT_CODECS = ("h264", "hevc")


class Content:
    """The file as PyAV wants it: something to read with a name."""

    name = "video"

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0)
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class Keyframes(NamedTuple):
    """Where decoding can begin, in order of time.

    Attributes:
        times_s: float64 `(n,)`, when they are shown.
        packets: int64 `(n,)`, their numbers among those of their stream.
    """

    times_s: "np.ndarray"
    packets: "np.ndarray"

    def before(self, time_s: float) -> int:
        """The packet from which on what is shown at a time can be decoded."""
        return int(self.packets[max(0, int(self.times_s.searchsorted(time_s, "right")) - 1)])


class Looked(NamedTuple):
    """What there is to take.

    Attributes:
        facts: fields of `l3core.avc.video.VideoFacts`.
        spans_s: beginning and end of each part of the sound without a gap, one after the other.
        frames_s: when frames are shown, in order.
        keyframes: of the pictures.
        problem: why the file could not be read on, and where.
    """

    facts: dict[str, Any]
    spans_s: "array[float]"
    frames_s: "np.ndarray"
    keyframes: Keyframes
    problem: str | None


def opened(file: IO[bytes]) -> "InputContainer":
    """The container in a file.

    Raises:
        VideoError: `unreadable`.
    """
    import av

    if not file.seek(0, os.SEEK_END):
        raise VideoError("unreadable", "the file is empty")
    try:
        return av.open(
            Content(file),
            "r",
            options=dict(OPTIONS),
            metadata_errors="replace",
            buffer_size=BUFFER_BYTES,
        )
    except av.error.MemoryError:
        raise MemoryError from None
    except av.error.FFmpegError as error:
        raise VideoError("unreadable", f"not a video that can be read: {error.strerror}") from None


def streams_of(container: "InputContainer") -> tuple[Any, Any]:
    """The stream of pictures and that of sound.

    Raises:
        VideoError: there is none of one kind, or its frames are too large.
    """
    pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
    videos = [stream for stream in pictures if stream.codec_context is not None]
    audios = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not videos and not audios:
        raise VideoError("unreadable", "there is neither picture nor sound that can be decoded")
    if not videos:
        cover = "" if not container.streams.video else "; a cover is no video"
        raise VideoError("no-picture", f"there is sound only{cover}")
    if not audios:
        raise VideoError("no-audio", "there is no sound")
    video = videos[0]
    refuse_too_large(video.codec_context.width, video.codec_context.height)
    for stream in (video, audios[0]):
        stream.codec_context.thread_count = 1  # many videos are decoded at a time; and less memory
    if video.codec_context.name in STRICT_CODECS:
        video.codec_context.options = {"err_detect": "explode"}
    return video, audios[0]


def _is_cover(stream: Any) -> bool:
    """Whether it is a picture of a record's sleeve."""
    return bool(stream.disposition.value & ATTACHED_PICTURE)  # PyAV 15's is no number


def look(file: IO[bytes]) -> Looked:
    """Read all packets of a video.

    Raises:
        VideoError: there is nothing to take, or too much.
    """
    import av

    problem = None
    with opened(file) as container:
        video, audio = streams_of(container)
        pictures, sound = _Pictures(video), _Sound(audio)
        try:
            for packet in container.demux(video, audio):
                if packet.size and packet.stream is video:
                    pictures.add(packet)
                elif packet.size and not packet.is_discard:
                    sound.add(packet)
        except av.error.MemoryError:
            raise MemoryError from None
        except av.error.FFmpegError as error:
            problem = f"the file cannot be read on: {error.strerror}"
        promised_s = None if container.duration is None else container.duration / av.time_base
    return _summary(pictures, sound, problem, promised_s)


def _summary(
    pictures: "_Pictures", sound: "_Sound", problem: str | None, promised_s: float | None
) -> Looked:
    frames = pictures.shown_s()
    spans = sound.spans.united()
    times = [*frames[:1], *frames[-1:], *spans[:1], *spans[-1:]]
    duration_s = float(max(times) - min(times)) if times else None
    if not problem and promised_s and duration_s is not None and promised_s > 1.1 * duration_s + 1:
        problem = f"the file ends after {duration_s:.1f} s of the {promised_s:.1f} s that it promises"
    facts = {"duration_s": duration_s, **pictures.facts(frames), **sound.facts()}
    return Looked(facts, spans, frames, pictures.keyframes(), problem)


class _Track:
    """What is known of a stream so far.

    Attributes:
        packets: how many there were.
        first: a decoded frame; it tells what no header does.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.packets = 0
        self.first: Any = None

    def _try(self, packet: Any) -> None:
        """Decode, until a frame has come."""
        import av

        if self.first is None and self.packets < TRIED_PACKETS:
            try:
                self.first = next(iter(packet.decode()), None)
            except av.error.MemoryError:
                raise MemoryError from None
            except av.error.FFmpegError:  # told when it is decoded to be used
                pass


class _Pictures(_Track):
    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        # arrays: a day has millions of frames
        self._times_s, self._key_times_s = array("d"), array("d")
        self._key_packets = array("q")

    def add(self, packet: Any) -> None:
        """Note when a packet's frame is shown; one that is cut off may still lead to others."""
        if len(self._times_s) > MOST_FRAMES:
            raise VideoError("too-large", f"at most {MOST_FRAMES} frames can be looked through")
        time_s = time_of(packet)
        if time_s is not None:
            if not packet.is_discard:
                self._times_s.append(time_s)
            if packet.is_keyframe:
                self._key_times_s.append(time_s)
                self._key_packets.append(self.packets)
        self._try(packet)
        self.packets += 1

    def shown_s(self) -> "np.ndarray":
        """When frames are shown that can be decoded."""
        import numpy as np

        times_s = np.sort(np.frombuffer(self._times_s))  # np.unique loads a module, too late
        times_s = times_s[np.diff(times_s, prepend=-np.inf) > 0]
        return times_s[times_s >= min(self._key_times_s, default=np.inf)]

    def keyframes(self) -> Keyframes:
        """Those that there are."""
        import numpy as np

        times_s = np.frombuffer(self._key_times_s)
        order = times_s.argsort(kind="stable")
        return Keyframes(times_s[order], np.frombuffer(self._key_packets, np.int64)[order])

    def facts(self, frames_s: "np.ndarray") -> dict[str, Any]:
        """Of the pictures."""
        context, first = self._stream.codec_context, self.first
        rate = float((len(frames_s) - 1) / (frames_s[-1] - frames_s[0])) if len(frames_s) > 1 else None
        return {
            "width": (first.width if first else context.width) or None,
            "height": (first.height if first else context.height) or None,
            "frames_per_s": rate,
            "video_codec": context.name,
            "rotation": rotation_of(first) if first else None,
        }


class _Sound(_Track):
    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.spans = Spans()

    def add(self, packet: Any) -> None:
        """Note when a packet sounds."""
        time_s = time_of(packet)
        if time_s is None:
            time_s = self.spans.last_s or 0.0
        self.spans.add(time_s, time_s + float((packet.duration or 0) * packet.time_base))
        self._begin(packet)
        self.packets += 1

    def _begin(self, packet: Any) -> None:
        """What a decoder needs before its first sample is no sound."""
        known = self.first is not None
        self._try(packet)
        if not known and self.first is not None and self.first.time is not None:
            self.spans.begin_at(self.first.time)

    def facts(self) -> dict[str, Any]:
        """Of the sound."""
        context = self._stream.codec_context
        source = self.first or context
        return {
            "sample_rate": source.sample_rate or None,
            "channels": source.layout.nb_channels or None,
            "audio_codec": context.name,
        }


def each_decoded(packet: Any) -> Iterator[Any]:
    """Frames that come with a packet; an error of memory is Python's.

    Raises:
        av.error.FFmpegError: the packet is damaged.
    """
    import av

    try:
        yield from packet.decode()
    except av.error.MemoryError:
        raise MemoryError from None
