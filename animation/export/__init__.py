"""Clips in the layouts that other systems read."""
