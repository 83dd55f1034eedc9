"""The one exception that is meant for the user's eyes."""


class UserError(ValueError):
    """What is wrong, with the value, and what would do, in one sentence. The command line prints it and exits with 2."""
