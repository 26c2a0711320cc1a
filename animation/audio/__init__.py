"""What a model hears: features of speech at the frames' rate."""
