"""`make demo`: embed 100 real clips, ask the table a question, and train a classifier on it."""

import shutil
import sys
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from launch.main import main

DATA = Path("examples/data")
TABLE, RESULT = Path("demo-table"), Path("demo-result")
EMBEDDING = ("--model", "edgel3-sea-64", "--hop", "0.5")
CLIP = "5-194930-A-1.ogg"  # a rooster
WINDOWS = "read_parquet('{table}/windows/*/*.parquet')"
NEIGHBOURS = f"""
WITH ask AS (SELECT embedding FROM {WINDOWS} WHERE clip_id = '{CLIP}' AND start_s = 1)
SELECT clip_id AS clip, category,
       max(list_cosine_similarity(w.embedding, ask.embedding))::DECIMAL(4, 3) AS similarity
FROM {WINDOWS} w, ask, '{{data}}/meta/esc50.csv' c
WHERE c.filename = w.clip_id AND w.clip_id <> '{CLIP}' AND NOT w.silent
GROUP BY ALL ORDER BY similarity DESC LIMIT 5
"""
LEDGER = """
SELECT status, count(*) AS clips, sum(windows_written) AS windows, round(sum(duration_s)) AS seconds
FROM '{table}/clips/*/*.parquet' GROUP BY ALL
"""
NEXT = f"""
The table is plain Parquet in {TABLE}/; open {RESULT}/report.html in a browser. Next:
  .venv/bin/l3flow embed --input 'YOUR/AUDIO/**/*.wav' --output my-table --model edgel3-sea-64
  .venv/bin/python -c "import pandas; print(pandas.read_parquet('{TABLE}/windows'))"
  .venv/bin/l3flow embed --help
"""


def run(*command: str) -> None:
    """Run a command line as a user would."""
    print("$ l3flow " + " ".join(command))
    if code := main(command):
        sys.exit(code)


def show(title: str, query: str) -> None:
    """Print the answer to a query."""
    answer = duckdb.sql(query)
    print(title)
    table = Table(*answer.columns)
    for row in answer.fetchall():
        table.add_row(*map(str, row))
    Console(width=100).print(table)


def ask(table: str, data: str) -> None:
    """What plain SQL finds in a table of the demonstration's clips."""
    show("\nThe ledger: one row per file", LEDGER.format(table=table))
    show(f"\nSounds most like {CLIP}, a rooster, at 1 s", NEIGHBOURS.format(table=table, data=data))


if __name__ == "__main__":
    for folder in (TABLE, RESULT):  # of an earlier demonstration
        if (folder / "table.json").exists() or (folder / "summary.json").exists():
            shutil.rmtree(folder)
    run("embed", "--input", str(DATA / "audio"), "--output", str(TABLE), *EMBEDDING)
    ask(str(TABLE), str(DATA))
    print("\nA classifier, trained and tested fold by fold")
    where = ("--dataset-root", str(DATA), "--table", str(TABLE), "--output", str(RESULT))
    run("crossval", "--dataset", "esc10", *where)
    print(NEXT)
