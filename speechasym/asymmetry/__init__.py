"""Hysteresis on the amplitude, frequency and phase of each filterbank channel."""
