"""Texts that make schedulers run l3flow: one module for each, from a checked command to its files."""
