"""Releases: what of a lab is published, written once, verified by anybody, read at random or as a stream."""
