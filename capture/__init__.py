"""Takes: import, pairing, clocks, checks, recovery, and the virtual rig."""
