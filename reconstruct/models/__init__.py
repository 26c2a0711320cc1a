"""Morphable models: one interface, adapters for the known files, a local library."""
