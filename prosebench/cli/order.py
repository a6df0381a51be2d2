"""The commands in the order in which they are used, under headings."""

from typing import Any

from typer.core import TyperGroup

IN_USE: dict[str, tuple[str, ...]] = {
    "Sample a peptide": ("sample", "export", "improve"),
    "Compare methods": (
        "list", "fetch", "reference", "run", "submit", "status", "cancel", "show", "score", "report", "import",
        "leaderboard", "submit-results",
    ),
    "Bring a method": ("new-method", "check", "train"),
    "Look at a machine": ("doctor", "bench"),
}  # fmt: skip
"""The names of the commands under each heading. A command that is not named here comes last."""


class InOrder(TyperGroup):
    """The application, whose help lists commands so."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all commands, in the order of their use."""
        headings = {name: heading for heading, names in IN_USE.items() for name in names}
        for name, command in self.commands.items():
            setattr(command, "rich_help_panel", headings.get(name, "Others"))  # noqa: B010 (what typer's commands have)
        known = [name for name in headings if name in self.commands]
        return [*known, *sorted(set(self.commands) - set(known))]
