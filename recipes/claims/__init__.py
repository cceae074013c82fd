"""Claims of the theory, put to the test."""
