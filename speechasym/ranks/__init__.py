"""Rank laws: as an activation with learned resolution and sensitivity, as a fit, as an observer."""

from speechasym.ranks.observers import significance

__all__ = ["significance"]
