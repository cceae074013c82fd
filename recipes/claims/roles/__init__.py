"""Six roles of a level, and the paths between them, one by one without (C12)."""
