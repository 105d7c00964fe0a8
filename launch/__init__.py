"""The `l3flow` command: options, runners, and what people see."""
