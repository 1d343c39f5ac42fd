"""Exit codes of every command; 0 is success."""

FAILURE = 1
"""Something failed at run time."""
USAGE = 2
"""An option or a setting cannot be used."""
INTERRUPTED = 130
"""Ctrl-C, as a shell reports it."""
