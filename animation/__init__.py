"""Audio-driven face animation: clips, audio features, audio2face and its peers, training, metrics, use."""
