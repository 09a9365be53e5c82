"""What several benchmarks use: a site of processes, meters, observers, brokers."""
