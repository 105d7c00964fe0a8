"""Pipelines on Google Dataflow."""
