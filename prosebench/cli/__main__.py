"""`python -m prosebench.cli` is the `prosebench` command."""

from prosebench.cli import main

if __name__ == "__main__":
    main()
