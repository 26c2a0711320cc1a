"""The virtual rig: an actor made of numbers, before Kinects made of numbers.

The demonstration's actor babbles: `speech` says what a mouth does and `voice` how it sounds. Any sentence is said by
`espeak`; `visemes`, `emotion` and `motion` make a `performance` of it, and `render` a clip for the `stage`. `lens`,
`scene` and `sensor` make the pictures; `rig` places three devices and `recording` writes a take as a real recording is
after its import.
"""
