"""Nearest neighbours in a table: exact by one reading of it, or approximate by an index."""
