"""Trained weights shipped with the package: safetensors and a JSON card each."""
