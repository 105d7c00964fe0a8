"""Batches: the very pairs of the records, in the order of their steps, however they are asked for."""

import io
import re
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import l3core.training.feed
from l3core.avc.records import decode_audio, decode_image, parse, read_records, write_records
from l3core.errors import DamagedError
from l3core.training.feed import Source
from tests.pairs import make_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), splits={"train": 20, "valid": 6})


def records_of(corpus, split):
    return [record for file in corpus.of_split(split) for record in read_records(corpus.uri(file))]


def test_a_batch_is_what_its_records_hold(corpus):
    source = Source(corpus, "train", batch_size=3, seed=1)
    raw = next(source.raw_batches(2))
    batch = next(source.batches(2))
    pairs = [parse(record) for record in raw.records]
    assert np.array_equal(batch.images, np.stack([decode_image(pair.image) for pair in pairs]))
    assert np.array_equal(batch.audio, np.stack([decode_audio(pair.audio) for pair in pairs]))
    assert batch.labels.numpy().tolist() == [pair.label for pair in pairs]
    assert batch.weights.numpy().tolist() == [1, 1, 1]
    assert (batch.images.dtype, batch.audio.dtype) == ("uint8", "int16")


def test_batches_go_on_from_any_step_across_passes(corpus):
    source = Source(corpus, "train", batch_size=3, seed=1)
    whole = [batch.records for batch in islice(source.raw_batches(), 14)]
    assert sorted(list(chain.from_iterable(whole))[:20]) == sorted(records_of(corpus, "train"))
    for step in (1, 6, 7, 13):
        assert next(source.raw_batches(step)).records == whole[step]


def test_a_limit_gives_each_pair_once_and_fills_the_last_batch_up(corpus):
    source = Source(corpus, "valid", batch_size=4, seed=1, limit=100)
    first, last = list(source.raw_batches())
    assert source.pairs == 6
    assert sorted(first.records + last.records[:2]) == sorted(records_of(corpus, "valid"))
    assert last.weights.tolist() == [1, 1, 0, 0]
    assert last.records[2:] == last.records[1:2] * 2
    again = Source(corpus, "valid", batch_size=4, seed=1, limit=5)
    assert [batch.weights.numpy().sum() for batch in again.batches()] == [4, 1]
    assert next(again.raw_batches()).records == first.records


def test_drawn_labels_stay_with_their_pairs(corpus):
    source = Source(corpus, "train", batch_size=20, seed=1, shuffle_labels=True)
    first, second = (
        dict(zip(batch.records, batch.labels.tolist())) for batch in islice(source.raw_batches(), 2)
    )
    assert first == second
    assert sum(first.values()) == 10
    own = {record: parse(record).label for record in first}
    assert own != first
    batch = next(source.batches())
    raw = next(source.raw_batches())
    assert batch.labels.numpy().tolist() == raw.labels.tolist()


def test_a_damaged_file_is_told_by_its_name(corpus, tmp_path):
    damaged = make_corpus(tmp_path, splits={"train": 8})
    path = Path(damaged.uri(damaged.files[0]))
    content = bytearray(path.read_bytes())
    content[5_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=rf"{path.name} is damaged.*; l3flow avc sample makes"):
        next(Source(damaged, "train", batch_size=4, seed=0).batches())


def test_a_file_of_other_pairs_is_told(corpus, tmp_path):
    other = make_corpus(tmp_path, splits={"train": 8})
    path = other.uri(other.files[0])
    write_records(path, [parse(record) for record in read_records(path)[:7]])
    with pytest.raises(DamagedError, match="has 7 pairs, and the corpus says 8"):
        next(Source(other, "train", batch_size=4, seed=0).batches())


@pytest.mark.parametrize(
    ("field", "content", "reason"),
    [
        ("audio", b"nothing", "the sound of a pair cannot be decoded"),
        ("image", b"nothing", "a picture cannot be decoded: Unknown image file format"),
        ("image", None, r"a picture has the shape \(8, 8, 3\)"),
    ],
)
def test_the_file_of_what_cannot_be_decoded_is_told_in_a_line(field, content, reason, tmp_path):
    """Of three files one pair is bad; the batches before it come."""
    odd = make_corpus(tmp_path, splits={"train": 24})
    path = odd.uri(odd.files[1])
    pairs = [parse(record) for record in read_records(path)]
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "JPEG")
    pairs[5] = pairs[5]._replace(**{field: content or small.getvalue()})
    write_records(path, pairs)
    source = Source(odd, "train", batch_size=4, seed=0)
    bad = read_records(path)[5]
    raw = islice(source.raw_batches(), 6)
    (place,) = (number for number, batch in enumerate(raw) if bad in batch.records)
    assert place  # with seed 0 it is not in the first one
    feed = source.batches()
    for _ in range(place):
        next(feed)
    with pytest.raises(DamagedError, match=rf"^{re.escape(path)} is damaged: {reason}") as caught:
        next(feed)
    assert "\n" not in str(caught.value)
    assert "function_node" not in str(caught.value)


def test_what_is_limited_reads_each_file_once(corpus, monkeypatch):
    """Nothing is read ahead that nobody will ask for."""
    read = []

    def counted(uri):
        read.append(uri)
        return read_records(uri)

    monkeypatch.setattr(l3core.training.feed, "read_records", counted)
    assert len(list(Source(corpus, "train", batch_size=4, seed=1, limit=100).raw_batches())) == 5
    assert sorted(read) == [corpus.uri(file) for file in corpus.of_split("train")]
