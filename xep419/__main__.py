"""``python -m xep419`` and the console script: runs the command line, or says what it lacks. Nothing else."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command and returns its exit status; without the ``cli`` extra, prints the reason and returns 1."""
    try:
        from .cli import main as run
    except ImportError as error:
        print(f"xep419: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
