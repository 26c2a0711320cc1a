"""The virtual rig: an actor made of numbers, before Kinects made of numbers.

`speech` says what a mouth does and `voice` how it sounds; `lens`, `scene` and `sensor` make the pictures; `rig`
places three devices and `recording` writes a take as a real recording is after its import.
"""
