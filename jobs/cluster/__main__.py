"""What a scheduler's job starts: `python -m jobs.cluster SUBMISSION_FOLDER INDEX`."""

import sys
from pathlib import Path

from jobs.cells.signals import listen


def main() -> int:
    """Do a job. A signal that asks for a stop may come before all is imported: it is listened to from here on."""
    listen()
    from jobs.cluster.task import run_task

    return run_task(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    sys.exit(main())
