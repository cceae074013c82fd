"""Weights of few bits: asymmetry against outliers (C20)."""
