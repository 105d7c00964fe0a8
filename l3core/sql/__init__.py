"""SQL over a table, by DuckDB: which files it may read, the views over them, and one connection.

DuckDB opens nothing by itself. It asks for `l3flow://table/...`, names that stand for the files of a
table's last commit and that only reading works on (`l3core.sql.files`); every other file, every write
and the network are refused by DuckDB's own locks (`l3core.sql.asking`).
"""
