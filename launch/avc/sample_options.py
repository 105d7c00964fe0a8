"""What the options of `l3flow avc sample` mean: its input, its splits and its settings."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from l3core import storage
from l3core.avc.comparing import Rules
from l3core.avc.corpus import Corpus, load_corpus
from l3core.avc.dividing import GroupOf, SplitOf, alone, group_by_subset, split_by_hash, split_by_subset
from l3core.avc.layout import CorpusPaths, CorpusSettings
from l3core.avc.subset_csv import read_files
from l3core.avc.video import VideoLimits
from l3core.containment import contained
from l3core.errors import UsageError
from l3core.listing import ListFile, Pattern, common_root, list_inputs, parse_input
from l3core.storage import StoredObject
from l3core.table.json_objects import read_json
from l3core.table.layout import TablePaths
from l3core.urls import refuse_web
from launch.options import naming

# What a folder stands for; anything that FFmpeg reads may be named by a pattern.
VIDEOS = frozenset(
    [
        ".3gp",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    ]
)


class Asked(NamedTuple):
    """What a command line asks for, held against the corpus that is there.

    Attributes:
        paths: of the corpus.
        inputs: that were named.
        settings: of the corpus.
        split_of: tells the split of an id.
        group_of: tells the recording that an id is of.
        rules: of the run.
        limits: of each video.
    """

    paths: CorpusPaths
    inputs: Sequence[Pattern | ListFile]
    settings: CorpusSettings
    split_of: SplitOf
    group_of: GroupOf
    rules: Rules
    limits: VideoLimits

    def listing(self, args: argparse.Namespace) -> Iterator[StoredObject]:
        """The input; a corpus that lies among it is none of it."""
        own = self.paths.root + "/"
        listed = list_inputs(self.inputs, self.paths.root)
        found = (each for each in listed if not each.uri.startswith(own))
        within = self.rules.within
        return islice(found if within is None else contained(found, within), args.limit)


def asked_of(args: argparse.Namespace) -> Asked:
    """What the options mean.

    Raises:
        UsageError: naming the flag.
    """
    with naming("--output"):
        refuse_web(args.output)
        root = storage.absolute_folder(args.output)
    if not storage.is_folder_or_absent(root):
        raise UsageError(f"--output {args.output} is a file; a corpus needs a folder")
    if storage.is_object(TablePaths(root).table):
        raise UsageError(f"--output {args.output} is a feature table; name a folder for the pairs")
    with naming("--input"):
        inputs = [parse_input(text, VIDEOS) for text in args.input]
    _check_there(args, inputs)
    with naming("--root"):
        within = storage.absolute_folder(args.root) if args.root else None

    def named(uri: str) -> bool:
        return any(each.names(uri) for each in inputs)

    return Asked(
        CorpusPaths(root),
        inputs,
        CorpusSettings(
            per_video=args.per_video,
            seed=args.seed,
            augmented=not args.no_augment,
            splits="subset" if args.subset else "hash",
        ),
        *(_read_subset(args.subset) if args.subset else (split_by_hash(args.seed), alone)),
        Rules(
            named=named if args.limit is None else None,  # else the listing is not complete
            prune=args.prune,
            retry_unreadable=args.retry_unreadable,
            within=within,
        ),
        VideoLimits(seconds=args.video_timeout, memory_mb=args.video_memory, bytes=args.max_video_size),
    )


def _check_there(args: argparse.Namespace, inputs: Sequence[Pattern | ListFile]) -> None:
    """Refuse inputs that cannot be there: misspelt ones, or a folder that is not mounted tonight."""
    for each in inputs:
        if isinstance(each, Pattern) and not (args.allow_empty or each.is_there):
            raise UsageError(
                f"--input {each.text}: there is no {each.needed}; --allow-empty makes that no error"
            )


def _read_subset(uri: str) -> tuple[SplitOf, GroupOf]:
    with naming("--subset"):
        files = read_files(uri)
    return split_by_subset(files.splits), group_by_subset(files.videos)


def corpus_for(args: argparse.Namespace, asked: Asked) -> tuple[Corpus | None, str]:
    """The corpus as it is, and the root of its ids.

    Raises:
        UsageError: it was made otherwise.
    """
    corpus = load_corpus(asked.paths.root)
    given = asked.rules.within
    if corpus is None:
        return None, common_root(asked.inputs) if given is None else given
    root: str = read_json(asked.paths.record(corpus.runs))["root"]
    if given not in (None, root):
        raise UsageError(f"--root {given}: this corpus's root is {root}, and a corpus has one")
    wanted = asked.settings.to_json()
    for name, value in wanted.items():
        there = corpus.settings.get(name)
        if there != value:
            flag = _FLAGS.get(name, name.replace("_", " "))
            raise UsageError(
                f"{flag} is {value} here, and the corpus {asked.paths.root} was made with {there}: "
                "a corpus has one, name another --output"
            )
    return corpus, root


_FLAGS = {"per_video": "--per-video", "seed": "--seed", "augmented": "augmentation (--no-augment)"}
