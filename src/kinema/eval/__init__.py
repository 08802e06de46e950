"""Benchmarks: anchors, scores from decoded files, curves and tables."""
