"""Builds the `canonical` model that ships with the project; not needed to use it."""
