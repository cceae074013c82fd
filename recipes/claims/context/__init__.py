"""Is a short context of events enough? (C15)."""
