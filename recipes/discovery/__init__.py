"""Explorations of features and representations."""
