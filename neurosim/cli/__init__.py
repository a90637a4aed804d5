"""The command line.  What a command needs is imported inside it, so that --help is quick."""

import os
import sys
from collections.abc import Callable, Sequence

from tyro.extras import SubcommandApp

from neurosim.cli import exports, plots, records, reports, runs, studies
from neurosim.errors import NeurosimError

# A run is one thread's work.  Linear algebra with more, such as `neurosim stability`'s, waits for
# itself where other processes are at work: 50 times as long with two threads on two busy cores.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

COMMANDS: dict[str, Callable[..., None]] = {
    "run": runs.run,
    "resume": runs.resume,
    "list": runs.list_models,
    "show": runs.show,
    "rerecord": records.rerecord,
    "audit": records.audit,
    "stability": records.stability,
    "export": exports.export,
    "tune": studies.tune,
    "reproduce": studies.reproduce,
    "compare": studies.compare,
    "report": reports.report,
}


def build(chosen: str | None = None) -> SubcommandApp:
    """All commands; of those not chosen the first line of their help, without the examples."""
    app = SubcommandApp()
    for name, command in COMMANDS.items():
        first = (command.__doc__ or "").partition("\n")[0]
        app.command(name=name, help=None if name == chosen else first)(command)
    app.command(plots.app, name="plot", help="Draw a figure from runs.")
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `neurosim` command.  Exit status: 0 done, 1 failed, 2 wrong input."""
    for name in THREADS:  # before a command imports numpy; worker processes inherit it
        os.environ.setdefault(name, "1")
    try:
        words = sys.argv[1:] if arguments is None else arguments
        build(words[0] if words else None).cli(
            prog="neurosim",
            description="Teams of stochastic units that learn by MAP propagation.",
            args=arguments,
        )
    except NeurosimError as error:
        print(f"neurosim: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("neurosim: interrupted; `neurosim resume DIR` goes on with a run.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
