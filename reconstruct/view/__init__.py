"""Looking at takes and sequences without a screen: a preview video and a self-contained report."""
