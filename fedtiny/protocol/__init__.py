"""Bytes <-> meaning: topic names, messages and their encoding. No I/O, no clock."""
