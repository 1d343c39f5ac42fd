"""The command line: `freshet COMMAND`, also `python -m streams COMMAND`.

A command reads its options and calls the module that does the work.  That module is imported when the
command runs, so that `--help` needs neither Kafka nor numba.
"""

from streams.cli.group import cli, main

__all__ = ["cli", "main"]
