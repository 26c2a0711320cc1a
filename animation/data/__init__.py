"""Clips to train on, from wherever they come."""
