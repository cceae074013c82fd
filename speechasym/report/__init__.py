"""One HTML page about a trained run, with figures and recordings in it."""
