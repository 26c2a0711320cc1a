"""audio2face and its peers, behind one interface."""
