"""Cameras: one small protocol, the Azure Kinect behind it, replayed takes, and the rig of several."""
