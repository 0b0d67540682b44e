"""Checkpoints that this project means to release: their recipes, their cards, and loading what is released."""

from pathlib import Path

RUNS = Path("runs")
"""Where runs of recipes are written, below the working directory."""
