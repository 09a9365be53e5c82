"""The same fleet under Flower."""
