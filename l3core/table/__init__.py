"""Feature tables: layout, plan, shards, commit, reading."""
