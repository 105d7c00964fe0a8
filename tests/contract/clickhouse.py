"""Does statements in ClickHouse, then reads what they made: `python clickhouse.py STATEMENTS NAME OUT`.

Run where chdb is (make .venv/engines). STATEMENTS is JSON; OUT/<part>.arrow is what NAME.<part> holds.
"""

import json
import sys

import pyarrow as pa
from chdb.session import Session


def main(statements, name, out):
    session = Session()
    for statement in json.loads(statements):
        session.query(statement)
    for part in ("windows", "clips"):
        answer = session.query(f"SELECT * FROM `{name}`.{part}", "ArrowStream").bytes()
        rows = pa.ipc.open_stream(answer).read_all()
        with pa.ipc.new_file(f"{out}/{part}.arrow", rows.schema) as writer:
            writer.write_table(rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
