"""The embedded corpus end to end, and ablations of its model."""
