"""The command line: each command reads its options, calls one module and shows what it says.

In: arguments. Out: tables on stdout, progress and one clear error on stderr, an exit code: 0 done,
1 refused or failed, 2 wrong usage, 130 interrupted. Never here: anything but that.
"""

import sys

from fairwind.cli import control, live, offline, pages
from fairwind.cli.screen import app
from fairwind.core.errors import FairwindError

__all__ = ["app", "control", "live", "main", "offline", "pages"]


def main() -> None:
    """Run one command; what Fairwind raises on purpose becomes one message and exit code 1."""
    try:
        app()
    except FairwindError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
