"""The two ways in which the tool stops: a mistake that the user can mend, or a failure of the tool."""


class UserError(Exception):
    """A mistake that the user can mend: one sentence that names the thing, what is wrong and what to do.

    The command line prints the sentence and exits with status 2.
    """


class Failure(Exception):
    """Something outside of the user's command went wrong (a full disk, a lost process): one sentence, status 1."""


def leaves(error: BaseException) -> bool:
    """Whether an exception would end the process without an error if it got to the top: SystemExit, typer's Exit."""
    return isinstance(error, SystemExit) or type(error).__module__.partition(".")[0] in ("click", "typer")


class Interruption(BaseException):
    """The work must stop here and now: no Exception, so that nothing on the way takes it for one."""
