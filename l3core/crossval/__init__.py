"""Cross-validation of the paper's classifier on a labelled corpus, fold by fold."""
