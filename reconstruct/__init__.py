"""Mesh sequences from takes: morphable models, rasterisers, the three stages, solvers, views."""
