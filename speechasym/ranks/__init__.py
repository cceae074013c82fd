"""Rank laws: as an activation with learned resolution and sensitivity, and as a fit."""
