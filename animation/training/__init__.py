"""Training: settings, loop, checkpoints, curves, the model's card."""
