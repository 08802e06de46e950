"""Integers to bytes and back; no torch."""
