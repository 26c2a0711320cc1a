"""Recording: from what cameras and the microphone deliver to takes, sentence by sentence."""
