"""Errors that the user can correct: an option, a setting, a file, a process that does not answer."""


class UserError(Exception):
    """The message says on one line what was wrong and what to do; `freshet` prints it and exits.

    A subclass sets `exit_code`: 2 for options and settings, 1 for what fails at run time.
    """

    exit_code = 1
