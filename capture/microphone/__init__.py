"""Microphones: one small protocol, the system's sound devices and the virtual one behind it."""
