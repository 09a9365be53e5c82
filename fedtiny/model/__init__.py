"""The model on a device: numpy and an interpreter, never TensorFlow."""
