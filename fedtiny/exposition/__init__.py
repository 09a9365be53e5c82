"""What Prometheus sees of an agent and of the coordinator; off unless ``metrics.port`` is set."""
