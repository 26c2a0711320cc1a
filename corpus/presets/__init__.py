"""The layouts in which other programs read sequences: one module each, with `write(clips, folder)`."""
