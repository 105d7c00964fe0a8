"""Python and the libraries: whether they are those that this project is made and tested for."""

import io
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from launch.checkups.finding import Asked, Finding

PYTHON = SpecifierSet(">=3.10,<3.14")
# Those whose versions people are asked for.
NAMED = ("apache-beam", "tensorflow", "keras", "kapre", "numpy", "pyarrow", "soxr", "soundfile")
# Their formats and subtypes, as libsndfile calls them.
CODECS = {
    "WAV": ("WAV", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "Vorbis": ("OGG", "VORBIS"),
    "Opus": ("OGG", "OPUS"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
}
RATE_HZ = 48_000


def look(asked: Asked) -> Iterator[Finding]:
    """Python, and every package that is out of its range."""
    python = platform.python_version()
    fits = PYTHON.contains(python, prereleases=True)
    yield Finding("python", "ok" if fits else "wrong", python, f"install Python {PYTHON}")
    wrong = False
    for text in requires("l3flow") or ():
        requirement = Requirement(text)
        if requirement.marker is not None:  # of an extra
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = "not installed"
        if found == "not installed" or not requirement.specifier.contains(found, prereleases=True):
            wrong = True
            yield Finding(requirement.name, "wrong", found, f"pip install '{requirement}'")
    if not wrong:
        named = ", ".join(f"{name} {version(name)}" for name in ("l3flow", *NAMED))
        yield Finding("packages", "ok", named)


def look_at_decoders(asked: Asked) -> Iterator[Finding]:
    """Whether what libsndfile writes can be read again, in the formats that corpora come in."""
    import numpy as np
    import soundfile

    from l3core.audio import Recording
    from l3core.errors import AudioError

    noise = np.random.default_rng(0).uniform(-0.1, 0.1, RATE_HZ).astype(np.float32)
    broken = []
    for codec, (kind, subtype) in CODECS.items():
        file = io.BytesIO()
        try:
            soundfile.write(file, noise, RATE_HZ, format=kind, subtype=subtype)
            file.seek(0)
            with Recording(file) as recording:
                whole = len(recording.read(0, recording.info.frames)) >= RATE_HZ
        except (AudioError, soundfile.LibsndfileError, ValueError):
            whole = False
        if not whole:
            broken.append(codec)
    library = f"libsndfile {soundfile.__libsndfile_version__}"
    if broken:
        remedy = "pip install --force-reinstall soundfile: its wheels bring libsndfile along"
        yield Finding("decoders", "wrong", f"{library} fails at {', '.join(broken)}", remedy)
        return
    yield Finding("decoders", "ok", f"{', '.join(CODECS)} ({library})")
