"""A toy corpus: small videos whose sound follows from their picture, and sounds of the same kinds.

In its folder: `videos/*.mp4` (h264 and AAC) with what each shows in `videos.csv`; `sounds/`, which no
video has, in ESC-50's layout with its ten easy classes and five folds, so that `l3flow crossval
--dataset esc10 --allow-partial` takes them; and `toy.json`, the settings, written last. A class of
sounds is a pitch and a noise, whatever the timbre; there are few of each, so that it counts what an
embedding takes for alike.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from l3core import storage
from l3core.atomic import write_bytes
from l3core.avc.toy_kinds import KINDS, NOISES, PITCHES, RATE_HZ, Toy, draw_toy, sound_of
from l3core.avc.toy_video import toy_video
from l3core.datasets.esc50 import CATEGORIES, COLUMNS, ESC10
from l3core.errors import UsageError
from l3core.machine import usable_cores

FOLDS, PER_FOLD = 5, 2  # of each class
CLASSES = 10  # of the fifteen combinations of a pitch and a noise: those of ESC-10
SOUND_S = 1.5
MANIFEST = "toy.json"
# Where random numbers are drawn from, beside the seed: a video, a sound, and which video shows what.
OF_VIDEO, OF_SOUND, OF_ORDER = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    """Of a toy corpus.

    Attributes:
        videos: how many.
        seconds: length of each.
        seed: of all that is random.
        width: of the pictures, in pixels, even.
        height: the same.
    """

    videos: int = 300
    seconds: float = 6.0
    seed: int = 0
    width: int = 256
    height: int = 256

    def __post_init__(self) -> None:
        if self.videos < 1:
            raise UsageError(f"--videos needs at least 1, got {self.videos}")
        if not 1 <= self.seconds <= 3600:
            raise UsageError(f"--seconds needs 1 to 3600, got {self.seconds:g}")
        if self.seed < 0:
            raise UsageError(f"--seed needs at least 0, got {self.seed}")
        for side in (self.width, self.height):
            if not 32 <= side <= 4096 or side % 2:
                raise UsageError(
                    f"--size needs even sides of 32 to 4096, got {self.width}x{self.height}"
                )


class ToyCorpus(NamedTuple):
    """What there is now.

    Attributes:
        videos: how many.
        sounds: how many.
        made: False if all of it was there already.
    """

    videos: int
    sounds: int
    made: bool


Report = Callable[[int, int], None]


def make_toy_corpus(folder: str, settings: ToySettings, report: Report = lambda *_: None) -> ToyCorpus:
    """Make a toy corpus; the same one for the same settings, with the same FFmpeg.

    Args:
        folder: path or URI; made if it is not there.
        settings: of it.
        report: told how many files of how many are there.

    Raises:
        UsageError: there is something else in the folder, or PyAV is not installed.
    """
    if find_spec("av") is None or find_spec("PIL") is None:
        raise UsageError("making videos needs PyAV and Pillow: pip install 'l3flow[video]'")
    toys = toys_of(settings)
    sounds = list(_sounds())
    facts = asdict(settings)
    corpus = ToyCorpus(len(toys), len(sounds), True)
    if _is_there(folder, facts):
        return corpus._replace(made=False)
    total = len(toys) + len(sounds)
    with ThreadPoolExecutor(usable_cores()) as pool:
        tasks = [pool.submit(_write_video, folder, settings, toys[n], n) for n in range(len(toys))]
        tasks += [pool.submit(_write_sound, folder, settings.seed, *sound) for sound in sounds]
        try:
            for done, task in enumerate(tasks, 1):
                task.result()
                report(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    write_bytes(storage.join(folder, "videos.csv"), _videos_csv(toys))
    write_bytes(storage.join(folder, "sounds", "meta", "esc50.csv"), _sounds_csv(sounds))
    write_bytes(storage.join(folder, MANIFEST), json.dumps(facts, indent=1).encode())
    return corpus


def toys_of(settings: ToySettings) -> list[Toy]:
    """What each video shows: all kinds, pitches and noises as often as any other, in random order."""
    generator = _generator(settings.seed, OF_ORDER, 0)
    every = list(product(range(len(KINDS)), range(PITCHES), range(NOISES)))
    order: list[tuple[int, int, int]] = []
    while len(order) < settings.videos:
        order += [every[place] for place in generator.permutation(len(every))]
    chosen = order[: settings.videos]
    return [draw_toy(generator, kind=kind, step=step, noise=noise) for kind, step, noise in chosen]


def _generator(seed: int, of: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, of, number])


def _is_there(folder: str, facts: dict[str, Any]) -> bool:
    """Whether the very corpus is there already."""
    manifest = storage.join(folder, MANIFEST)
    if storage.is_object(manifest):
        found = json.loads(storage.read_bytes(manifest))
        if found != facts:
            raise UsageError(f"{folder} is a toy corpus with other settings; name another folder")
        return True
    ours = {"videos", "sounds", "videos.csv"}  # of a run that was killed
    strange = [name for name in storage.names_below(folder, suffix="") if name not in ours]
    if strange:
        raise UsageError(f"{folder} has something else in it ({strange[0]}); name another folder")
    return False


def _name_of(number: int) -> str:
    return f"{number:04}.mp4"


def _write_video(folder: str, settings: ToySettings, toy: Toy, number: int) -> None:
    content = toy_video(
        toy,
        seconds=settings.seconds,
        width=settings.width,
        height=settings.height,
        generator=_generator(settings.seed, OF_VIDEO, number),
    )
    write_bytes(storage.join(folder, "videos", _name_of(number)), content)


def _sounds() -> Iterator[tuple[int, int, int]]:
    """(number, class, fold) of each sound."""
    order = product(range(1, FOLDS + 1), range(CLASSES), range(PER_FOLD))
    return ((number, of, fold) for number, (fold, of, _) in enumerate(order))


def _sound_name(number: int, of: int, fold: int) -> str:
    """As ESC-50 has them: fold, source, take, target."""
    return f"{fold}-{100_000 + number}-A-{_target(of)}.wav"


def _target(of: int) -> int:
    return CATEGORIES.index(ESC10.classes[of])


def _write_sound(folder: str, seed: int, number: int, of: int, fold: int) -> None:
    import soundfile

    generator = _generator(seed, OF_SOUND, number)
    kind = int(generator.integers(len(KINDS)))
    toy = draw_toy(generator, kind=kind, step=of // NOISES, noise=of % NOISES)
    sound = sound_of(toy, round(SOUND_S * RATE_HZ), 1.0, generator)
    file = io.BytesIO()
    soundfile.write(file, sound, RATE_HZ, format="WAV", subtype="PCM_16")
    name = _sound_name(number, of, fold)
    write_bytes(storage.join(folder, "sounds", "audio", name), file.getvalue())


def _videos_csv(toys: list[Toy]) -> bytes:
    rows = [
        (
            _name_of(number),
            KINDS[toy.kind].name,
            f"{toy.pitch:.4f}",
            f"{toy.noise:.4f}",
        )
        for number, toy in enumerate(toys)
    ]
    return _csv([("video", "shape", "pitch", "noise"), *rows])


def _sounds_csv(sounds: list[tuple[int, int, int]]) -> bytes:
    rows = []
    for number, of, fold in sounds:
        name = _sound_name(number, of, fold)
        rows.append((name, fold, _target(of), ESC10.classes[of], True, 100_000 + number, "A"))
    return _csv([(*COLUMNS, "take"), *rows])


def _csv(rows: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
