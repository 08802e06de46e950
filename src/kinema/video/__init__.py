"""Pixels: frames, video files and picture quality."""
