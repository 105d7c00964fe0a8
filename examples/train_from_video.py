"""From videos to weights, to embeddings, to a cross-validation (docs/training.md): minutes on two cores.

python examples/train_from_video.py FOLDER [VIDEOS [OPTIONS OF l3flow avc train]]

The videos are generated. With some of your own leave out the first step, and with a GPU --preset toy.
"""

import sys

from launch.main import main

folder, videos, *options = sys.argv[1:] if len(sys.argv) > 2 else (*sys.argv[1:], "300")
toy, pairs, training, weights = (f"{folder}/{name}" for name in ("toy", "pairs", "training", "l3.h5"))
MODEL = ("--model", "l3-narrow", "--frontend", "as-trained", "--hop", "0.5")


def run(*command: str) -> None:
    """Run a command line as a user would."""
    print("$ l3flow " + " ".join(command), flush=True)
    if code := main(command):
        sys.exit(code)


run("avc", "toy", toy, "--videos", videos)
run("avc", "sample", "--input", f"{toy}/videos", "--output", pairs)
run("avc", "inspect", "--corpus", pairs, "--output", f"{folder}/pairs.html")
run("avc", "train", "--corpus", pairs, "--output", training, "--preset", "toy", *options)
run("avc", "evaluate", "--training", f"toy={training}", "--corpus", f"toy={pairs}")
run("avc", "export", "--training", training, "--output", weights)
for name, given in (("trained", weights), ("untrained", "random:0")):
    table, result = f"{folder}/table-{name}", f"{folder}/result-{name}"
    run("embed", "--input", f"{toy}/sounds/audio", "--output", table, *MODEL, "--weights", given)
    where = ("--dataset-root", f"{toy}/sounds", "--table", table, "--output", result)
    run("crossval", "--dataset", "esc10", *where, "--allow-partial")
