"""A table of awkward names whose map is looked at."""

import json
import os

import numpy as np
import soundfile

from launch.main import main
from tests.corpus import FLAGS, write_audio

NAMES = (
    "plain.wav",
    "a \"quoted\" & 'odd' <b>.wav",
    "100% #1?=x&y;.wav",
    "ü ä ö\u0308 日本.wav",
    "$x`y`!*().wav",
)


def make_table(folder):
    """Noise and quiet noise of awkward names, in two folders; silence, and what is no audio."""
    corpus = folder / "corpus"
    for number, name in enumerate(NAMES):
        write_audio(corpus / "loud" / name, 0.5 + number / 4, seed=number)
        samples, rate = soundfile.read(corpus / "loud" / name)
        (corpus / "quiet" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(corpus / "quiet" / name, samples / 100, rate)
    os.rename(corpus / "loud/plain.wav", os.fsencode(corpus / "loud") + b"/not utf-8 \xff.wav")
    soundfile.write(corpus / "silence.wav", np.zeros(8_000, np.float32), 8_000)
    (corpus / "text.wav").write_bytes(b"no audio" * 20)
    command = ["embed", "--input", str(corpus), "--output", str(folder / "table"), *FLAGS]
    assert main([*command, "--quiet"]) == 0
    return folder / "table"


def data_of(html):
    """What a page knows of its clips."""
    return json.loads(html.partition('id="data">')[2].partition("</script>")[0])
