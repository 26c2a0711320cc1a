"""The ground floor: cameras, transforms, takes, mesh sequences, errors, progress and the command line."""

__version__ = "0.1.0"
