"""`neurosim report`: a page about runs."""

from neurosim.cli.arguments import Output, Runs, all_run_folders, check_output


def report(runs: Runs, output: Output, force: bool = False) -> None:
    """Make a page about runs: one HTML file to look at, or to send, that needs no network.

    | neurosim report runs/cartpole/seed-0000 runs/async/cartpole/seed-0000 -o report.html

    Args:
        runs: Folders of runs, or folders of several seeds, or run.h5 files.
        output: The .html file to write.
        force: Replace the file if it is there already.
    """
    from neurosim.report import write_page

    check_output(output, "a report", ".html", force=force)
    write_page(all_run_folders(runs), output)
    print(output)
