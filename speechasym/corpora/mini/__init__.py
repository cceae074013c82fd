"""The embedded corpus: short sentences spoken by espeak-ng, with exact times."""
