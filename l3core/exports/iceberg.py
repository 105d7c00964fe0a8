"""Apache Iceberg by pyiceberg: the table's own files, registered where they lie.

The files have no field ids, so the table gets a name mapping (pyiceberg's `add_files` sets it). A
vector is a list: Iceberg knows no lists of fixed length. Snapshots before the last refer to files that
l3flow may have removed since.
"""

from urllib.parse import urlsplit

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from l3core.errors import UsageError
from l3core.exports.formats import Exported, Part, Target
from l3core.storage import join


def write(part: Part, target: Target) -> Exported:
    """Make the table have a part's files, in one commit."""
    for uri in (target.uri, *part.files.values()):
        if urlsplit(uri).query or urlsplit(uri).fragment:
            raise UsageError(f"pyiceberg cannot read a place with ? or # in its name: {uri}")
    table = _table(part, target)
    there = {task.file.file_path: task.file for task in table.scan().plan_files()}
    wanted = set(part.files.values())
    new, old = sorted(wanted - there.keys()), sorted(there.keys() - wanted)
    if new or old:
        transaction = table.transaction()
        if old:
            with transaction.update_snapshot().overwrite() as overwrite:
                for uri in old:
                    overwrite.delete_data_file(there[uri])
        if new:
            transaction.add_files(new)
        transaction.commit_transaction()
    return Exported(part.name, len(new), len(old), len(wanted))


def _table(part: Part, target: Target) -> Table:
    catalog = _catalog(target)
    catalog.create_namespace_if_not_exists(target.namespace)
    name = f"{target.namespace}.{part.name}"
    if catalog.table_exists(name):
        return catalog.load_table(name)
    location = join(_with_scheme(target.uri), part.name)
    return catalog.create_table(name, schema=part.schema, location=location)


def _catalog(target: Target) -> Catalog:
    if target.catalog is not None:
        try:
            return load_catalog(target.catalog)
        except ValueError as error:  # there is none of that name
            raise UsageError(f"--catalog {target.catalog}: {error}") from None
    if "://" in target.uri:
        raise UsageError(
            f"an Iceberg table at {target.uri} needs a catalog: name one of your .pyiceberg.yaml with "
            "--catalog"
        )
    from pathlib import Path

    from pyiceberg.catalog.sql import SqlCatalog

    Path(target.uri).mkdir(parents=True, exist_ok=True)
    return SqlCatalog(
        "l3flow", uri=f"sqlite:///{target.uri}/catalog.db", warehouse=_with_scheme(target.uri)
    )


def _with_scheme(uri: str) -> str:
    return uri if "://" in uri else f"file://{uri}"
