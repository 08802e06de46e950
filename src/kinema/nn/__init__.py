"""Layers without codec knowledge."""
