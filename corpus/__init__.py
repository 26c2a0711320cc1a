"""Sentences, scripts and sessions: what is said, by whom, and what became of it."""
