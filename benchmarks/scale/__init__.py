"""Thousands of devices on one coordinator."""
