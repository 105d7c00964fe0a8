"""A comparison of embeddings on labelled corpora: its plan, its cells, its figures, its tests."""
