"""All benchmarks, or those that are named, one after the other.

    python tests/benchmarks [NAME ...] [--quick] [--json PATH] [--figure PATH]

Each is also a script of its own, whose first lines say what it measures.  peers.py, which needs
Brian2, is only that.
"""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import (
    agent_step,
    async_engine,
    batch,
    recorder,
    scaling,
    variants,
    whole_run,
    workers,
)
from benchmarks.harness import arguments, machine, run

BENCHMARKS = {
    "agent_step": agent_step.measure,
    "batch": batch.measure,
    "async_engine": async_engine.measure,
    "variants": variants.measure,
    "whole_run": whole_run.measure,
    "recorder": recorder.measure,
    "scaling": scaling.measure,
    "workers": workers.measure,
}


def main() -> None:
    """Carry them out."""
    parser = arguments(__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME")
    parser.add_argument("--figure", type=Path, metavar="PATH", help="scaling's figure")
    options = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for name in options.names or BENCHMARKS:
        measure = BENCHMARKS[name]
        run(
            name, partial(measure, figure=options.figure) if name == "scaling" else measure, options
        )


if __name__ == "__main__":
    main()
