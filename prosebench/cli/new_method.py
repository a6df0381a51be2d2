"""The command that begins a method of one's own."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from prosebench.cli.options import app, out


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the method: small letters, digits and dashes.")],
    to: Annotated[Path | None, typer.Option(help="Folder to make; default: the name.")] = None,
) -> None:
    """Make a package with a method to begin from, its test and its pyproject.toml."""
    from prosebench.new_method import write_package

    folder = to or Path(name)
    for file in write_package(name, folder):
        out.print(str(file), soft_wrap=True)
    out.print(
        f"next: `pip install --editable {quote(str(folder))}`, then `prosebench check {name}`, and "
        f"`prosebench run --suite quickstart --methods {name},md`",
        soft_wrap=True,
    )
