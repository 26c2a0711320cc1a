"""What a lab has recorded, seen as a data set: its items, regions of the face, statistics."""
