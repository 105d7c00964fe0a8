"""How often the nearest clips are of the same class: precision at k of what `l3flow similar` answers.

cd ESC-10/audio && l3flow similar --table TABLE *.ogg -k 5 --json > answer.json
python examples/precision_of_neighbours.py answer.json ESC-10/meta/esc50.csv
"""

import csv
import json
import sys
from collections import defaultdict

answer, labels = sys.argv[1:3]

with open(labels, encoding="utf-8", newline="") as file:
    # the table's recordings may be of another format than the list's
    label_of = {row["filename"].rpartition(".")[0]: row["category"] for row in csv.DictReader(file)}
with open(answer, encoding="utf-8") as file:
    queries = json.load(file)["queries"]

shares = defaultdict(list)
for query in queries:
    own = label_of[query["clip_id"].rpartition(".")[0]]
    near = [label_of[one["clip_id"].rpartition(".")[0]] for one in query["neighbours"]]
    shares[own].append(near.count(own) / len(near))

for label, found in sorted(shares.items()):
    print(f"{label:16} {sum(found) / len(found):.3f}")
everything = [share for found in shares.values() for share in found]
print(f"{'mean':16} {sum(everything) / len(everything):.3f} of {len(everything)} clips")
