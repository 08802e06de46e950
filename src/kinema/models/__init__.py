"""Published systems, one short file each, and the registry of their numbers and weights."""
