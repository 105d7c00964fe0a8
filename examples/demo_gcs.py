"""`make demo-gcs`: the same from bucket to bucket, in an emulator of Google's store on this machine."""

import logging
import os

import duckdb

from examples.demo import DATA, EMBEDDING, ask, run
from l3core.stores import filesystem, unwrapped
from tests.emulators import gcs_emulator

if __name__ == "__main__":
    with gcs_emulator() as store:
        os.environ["STORAGE_EMULATOR_HOST"] = store.url
        corpus, table = store.make_bucket("sounds") + "/esc10", store.make_bucket("features") + "/esc10"
        gcs = unwrapped(filesystem(corpus)[0])
        gcs.put(f"{DATA}/", f"{corpus}/", recursive=True)
        print(f"A store at {store.url}, with {len(gcs.ls(corpus + '/audio'))} clips in {corpus}")
        command = ("embed", "--input", f"{corpus}/audio", "--output", table, *EMBEDDING)
        run(*command)
        # DuckDB leaves files open, of which asyncio would speak at the end
        logging.getLogger("asyncio").setLevel("CRITICAL")
        duckdb.register_filesystem(gcs)
        ask(table, corpus)
        print("\nThe same again, and is everything as promised?")
        run(*command)
        run("verify", "--table", table)
