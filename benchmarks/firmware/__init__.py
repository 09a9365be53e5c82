"""The exported C."""
