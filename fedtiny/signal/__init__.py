"""Samples -> windows -> features. numpy only."""
