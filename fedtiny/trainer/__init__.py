"""Training on one machine: the only import of TensorFlow."""
