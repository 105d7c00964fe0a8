"""Embedding inside a Beam pipeline of your own: sounds that you have in hand, one line for each.

python examples/embed_in_a_pipeline.py examples/data/audio vectors.jsonl
"""

import json
import sys

import apache_beam as beam
import soundfile
from apache_beam.io import fileio
from apache_beam.options.pipeline_options import PipelineOptions

from l3core import Embedding, EmbeddingSpec
from pipelines import EmbedSignals

SPEC = EmbeddingSpec(model="edgel3-sea-64", hop_s=0.5)


def decode(file: fileio.ReadableFile):
    """Your own reading: (key, (audio, sample rate)); what is no signal comes out among the errors."""
    try:
        return file.metadata.path, soundfile.read(file.open(), dtype="float32")
    except soundfile.LibsndfileError:
        return file.metadata.path, None


def mean(key: str, embedding: Embedding) -> str:
    """One vector of a sound."""
    vectors, _, silent = embedding
    found = {"silent": int(silent.sum()), "mean": vectors.mean(axis=0).tolist()}
    return json.dumps({"sound": key, "windows": len(vectors), **found})


if __name__ == "__main__":
    with beam.Pipeline(options=PipelineOptions(sys.argv[3:], runner="FnApiRunner")) as pipeline:
        files = pipeline | fileio.MatchFiles(sys.argv[1] + "/*") | fileio.ReadMatches()
        embedded, errors = files | beam.Map(decode) | EmbedSignals(SPEC)
        _ = embedded | beam.MapTuple(mean) | beam.io.WriteToText(sys.argv[2], shard_name_template="")
        _ = errors | "Errors" >> beam.MapTuple(lambda key, error: print(f"{key}: {error}"))
