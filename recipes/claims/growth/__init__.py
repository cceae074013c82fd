"""Growth of a stack against the whole stack from the start (C9)."""
