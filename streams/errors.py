"""Errors that the user can correct, such as an invalid option or setting, and the exit codes of `freshet`."""

FAILURE = 1
"""Something failed at run time."""
USAGE = 2
"""An option or a setting cannot be used."""
INTERRUPTED = 130
"""Ctrl-C, as a shell reports it."""


class UserError(Exception):
    """The message says on one line what was wrong and what to do; `freshet` prints it and exits.

    A subclass for options or settings sets `exit_code` to `USAGE`.
    """

    exit_code = FAILURE
