"""Federated learning of the head. Pure: no I/O, no clock, no MQTT; time is an argument."""
