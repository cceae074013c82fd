"""Several nets answer: who is heard? (C14)."""
