"""The command line: arguments in, messages out; the work is done in the rooms below."""

from kinema.cli.program import app, main

__all__ = ["app", "main"]
