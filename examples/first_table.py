"""A first table from Python: embed a folder, read vectors back, compare clips.

python examples/first_table.py examples/data/audio my-table
"""

import sys

import numpy as np

from l3core import read_windows
from launch.main import main

audio, table = sys.argv[1:3]

code = main(["embed", "--input", audio, "--output", table, "--model", "edgel3-sea-64", "--hop", "0.5"])
if code:
    sys.exit(code)

metadata, vectors = read_windows(table)  # an Arrow table, and float32 (windows, 64)
clips, first, counts = np.unique(metadata["clip_id"].to_numpy(), return_index=True, return_counts=True)
means = np.add.reduceat(vectors, first, axis=0) / counts[:, np.newaxis]
means /= np.linalg.norm(means, axis=1, keepdims=True)

similarity = means @ means.T
np.fill_diagonal(similarity, -1.0)
print(f"{len(clips)} clips, {len(vectors)} windows of {vectors.shape[1]} numbers")
for clip, nearest in list(zip(clips, similarity.argmax(axis=1)))[:5]:
    print(f"{clip} sounds most like {clips[nearest]}")
