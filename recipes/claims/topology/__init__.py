"""Pruning, residual series, gates, constants, teachers (C21)."""
