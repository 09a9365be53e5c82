"""One device: window to alarm, memory, start."""
