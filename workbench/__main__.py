"""`workbench`, and `python -m workbench` where that is not on the path: the command line.

It stands apart from `workbench.cli` so that Ctrl-C while that is imported is no traceback.
"""

import sys


def main() -> None:
    """Run the command line; see `workbench.cli.main`."""
    try:
        from workbench.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.stderr.write("\nStopped.\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
