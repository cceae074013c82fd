"""Units that levels find without labels, against clusters of frozen features."""
