"""`python -m prosebench` is the `prosebench` command."""

import sys

from prosebench.rooms import HiddenRoom, check_rooms


def main() -> None:
    """Look whether the packages of these names are ours before any of them is imported, then do the command."""
    try:
        check_rooms()
    except HiddenRoom as hidden:
        print(f"error: {hidden}", file=sys.stderr)
        sys.exit(2)
    from prosebench.cli import main as command

    command()


if __name__ == "__main__":
    main()
