"""Feedback between levels, measured (C13)."""
