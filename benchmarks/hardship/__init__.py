"""A year of windows, kills, bad networks, hostile input."""
