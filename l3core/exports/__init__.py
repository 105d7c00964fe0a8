"""A spec's windows and ledger as tables of another format, brought up to date by each export."""

from l3core.exports.formats import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]
