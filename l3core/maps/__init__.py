"""A corpus as a picture: which clips are in it, where they lie, and what they are coloured by."""
