"""Does the closed loop of levels live near the border of chaos? (C23)."""
