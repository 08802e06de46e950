"""Bytes and their meaning: the `.kin` container; standard library only."""
