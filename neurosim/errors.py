"""The errors that neurosim reports to its user, each with the exit status of the command line."""


class NeurosimError(Exception):
    """Something that the user can act on; the message says what happened and what to do.

    Attributes
    ----------
    exit_status : int
        The status with which the command line exits.
    """

    exit_status: int = 1


class InputError(NeurosimError):
    """The input is wrong: a model, an option, or a file that cannot be read."""

    exit_status = 2


class RunError(NeurosimError):
    """The run failed: it diverged, or the disk is full."""

    exit_status = 1


class Interrupted(RunError):
    """The run was stopped by Ctrl-C at the end of an episode; it can be resumed."""

    exit_status = 130
