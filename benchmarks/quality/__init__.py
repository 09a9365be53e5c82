"""Detection, and what strategies and poisoners make of it."""
