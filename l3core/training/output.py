"""What a training leaves, and whose it is.

OUT/training.json               what is trained on what, on how many devices, and with which versions
OUT/history.csv                 `l3core.training.history`; OUT/training.html shows it
OUT/checkpoints/<samples>/      `l3core.training.checkpoints`; OUT/latest.json, OUT/best.json name two
OUT/tensorboard/                the history for TensorBoard
OUT/nan/                        the batch that gave no number, and the weights before it
OUT/_l3flow/                    the lock of the run at work
"""

import platform
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from l3core import storage
from l3core.avc.corpus import Corpus
from l3core.errors import TableError, UsageError
from l3core.table.json_objects import create_json, read_json, write_json
from l3core.training.settings import MAY_CHANGE, TrainingSettings, settings_of

LAYOUT_VERSION = 1


@dataclass(frozen=True)
class OutputPaths:
    """Where everything of a training lies; `root` is its folder."""

    root: str

    @property
    def identity(self) -> str:
        """What is trained on what."""
        return storage.join(self.root, "training.json")

    @property
    def history(self) -> str:
        """Rows of epochs."""
        return storage.join(self.root, "history.csv")

    @property
    def page(self) -> str:
        """What people look at."""
        return storage.join(self.root, "training.html")

    @property
    def tensorboard(self) -> str:
        """Folder of events."""
        return storage.join(self.root, "tensorboard")

    @property
    def nan(self) -> str:
        """Folder of the batch that gave no number."""
        return storage.join(self.root, "nan")


@dataclass(frozen=True)
class Identity:
    """What a training is.

    Attributes:
        settings: of the training.
        corpus: URI of its corpus.
        digest: of the corpus.
        pairs: of the split that is trained on.
        versions: that it was begun with.
        replicas: devices that share a batch, each normalising its part; None where that is not known.
        resumed: versions that it went on with, where they were others than before.
    """

    settings: TrainingSettings
    corpus: str
    digest: str
    pairs: int
    versions: dict[str, str]
    replicas: int | None = None
    resumed: tuple[dict[str, str], ...] = ()

    @property
    def devices(self) -> str:
        """On how many devices, in words."""
        if self.replicas is None:
            return "not recorded"
        part = self.settings.batch_size // self.replicas
        return f"{self.replicas}, normalising {part} pairs each (the paper: 4, 16 each)"

    def as_json(self) -> dict[str, Any]:
        """For training.json."""
        corpus = {"uri": self.corpus, "digest": self.digest, "training_pairs": self.pairs}
        settings, versions = self.settings.as_json(), self.versions
        return {
            "layout": LAYOUT_VERSION,
            "settings": settings,
            "corpus": corpus,
            "versions": versions,
            "replicas": self.replicas,
            "resumed": list(self.resumed),
        }


def read_identity(paths: OutputPaths) -> Identity | None:
    """What a folder is the training of; None if it is none.

    Raises:
        UsageError: it is of another version, or damaged.
    """
    try:
        found = read_json(paths.identity)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise UsageError(
            f"{paths.identity} cannot be: there is a file where its folder should be"
        ) from None
    if found.get("layout") != LAYOUT_VERSION:
        raise TableError(
            f"{paths.identity} has layout {found.get('layout')!r}, this l3flow knows {LAYOUT_VERSION}"
        )
    try:
        corpus = found["corpus"]
        return Identity(
            settings_of(found["settings"], paths.identity),
            corpus["uri"],
            corpus["digest"],
            corpus["training_pairs"],
            found["versions"],
            found.get("replicas"),
            tuple(found.get("resumed", ())),
        )
    except (KeyError, TypeError):
        raise TableError(f"{paths.identity} is damaged") from None


def identity_for(settings: TrainingSettings, corpus: Corpus, *, replicas: int | None = None) -> Identity:
    """What a training of this corpus is; without `replicas`, on as many devices as it was begun on."""
    pairs = sum(file.pairs for file in corpus.of_split("train"))
    return Identity(settings, corpus.root, corpus.digest, pairs, versions(), replicas)


def check_identity(paths: OutputPaths, wanted: Identity) -> Identity | None:
    """Hold that a folder is free or has the same training; what is there.

    Raises:
        UsageError: another training was begun there.
    """
    found = read_identity(paths)
    if found is None:
        return None
    begun, now = found.settings.as_json(), wanted.settings.as_json()
    for name in begun:
        if begun[name] != now[name] and name not in MAY_CHANGE:
            flag = "--" + name.replace("_", "-")
            raise UsageError(
                f"{flag} {now[name]}: the training in {paths.root} was begun with {begun[name]}: give "
                "that, or another --output"
            )
    if found.digest != wanted.digest:
        raise UsageError(
            f"--corpus {wanted.corpus}: the training in {paths.root} was begun with other pairs (of "
            f"{found.corpus}, digest {found.digest[:12]}, here {wanted.digest[:12]}): give another "
            "--output"
        )
    if None not in (found.replicas, wanted.replicas) and found.replicas != wanted.replicas:
        raise UsageError(
            f"--devices: {wanted.replicas} here, the training in {paths.root} was begun on "
            f"{found.replicas}, each normalising its part of a batch: give as many, or another --output"
        )
    return found


def claim(paths: OutputPaths, wanted: Identity, *, epochs_done: int = 0) -> Identity:
    """Make a folder the place of a training, if it is free or the same training's.

    Args:
        paths: of the folder.
        wanted: what is trained.
        epochs_done: of the training that is there.

    Raises:
        UsageError: another training was begun there.
    """
    found = check_identity(paths, wanted)
    if found is None:
        create_json(paths.identity, wanted.as_json())
        found = check_identity(paths, wanted)  # somebody else may have been first
        assert found is not None
        return found
    epochs = max(wanted.settings.epochs, epochs_done)
    settings, replicas = replace(wanted.settings, epochs=epochs), found.replicas or wanted.replicas
    last = found.resumed[-1] if found.resumed else found.versions
    resumed = found.resumed if last == wanted.versions else (*found.resumed, wanted.versions)
    now = replace(found, settings=settings, replicas=replicas, resumed=resumed)
    if now != found:
        write_json(paths.identity, now.as_json())
    return now


def versions() -> dict[str, str]:
    """Of what a training depends on, here."""
    found = {"python": platform.python_version()}
    for package in ("l3flow", "tensorflow", "keras", "kapre", "numpy", "soundfile"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def in_words(versions: dict[str, str]) -> str:
    """Versions for people."""
    return ", ".join(f"{package} {version}" for package, version in versions.items())
