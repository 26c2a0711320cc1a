"""How far an animation is from the truth, each definition by its name."""
