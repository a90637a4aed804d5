"""The command line.  What a command needs is imported inside it, so that --help is quick."""

import os
import sys
from collections.abc import Sequence

from tyro.extras import SubcommandApp

from neurosim.cli import plots, records, reports, runs, studies
from neurosim.errors import NeurosimError

app = SubcommandApp()
app.command(runs.run)
app.command(runs.resume)
app.command(name="list")(runs.list_models)
app.command(runs.show)
app.command(records.rerecord)
app.command(records.audit)
app.command(records.stability)
app.command(studies.tune)
app.command(studies.reproduce)
app.command(studies.compare)
app.command(reports.report)
app.command(plots.app, name="plot", help="Draw a figure from runs.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `neurosim` command.  Exit status: 0 done, 1 failed, 2 wrong input."""
    try:
        app.cli(
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
