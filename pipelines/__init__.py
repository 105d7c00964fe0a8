"""Beam: the thin layer that distributes the plain functions of l3core."""
