"""Figures of recordings and of trained runs."""
