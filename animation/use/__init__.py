"""A trained model at work: any length, streams, files for other programs."""
