"""Checkpoints that this project means to release: their recipes, their cards, and loading what is released."""
