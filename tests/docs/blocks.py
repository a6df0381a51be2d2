"""Blocks of code on the pages of the documentation: found, read, and executed in order."""

import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_BLOCK = re.compile(r"(?:^<!-- ([^\n]*?) -->\n)?^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.toml)$")
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
_MARK, _SCRIPT = "not executed: ", "made: script "
RELATIVE, ABSOLUTE = 0.05, 0.02
"""How far a printed number may be from that on the page: machines round differently."""


@dataclass(frozen=True)
class Block:
    """A fenced block: the comment directly above it, its language, and its text."""

    comment: str
    language: str
    text: str

    @property
    def why_not(self) -> str:
        """The reason why it is not executed; empty where it is."""
        return self.comment.removeprefix(_MARK) if self.comment.startswith(_MARK) else ""


def pages() -> list[Path]:
    """Every page for users."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(one[0], one[1], one[2]) for one in _BLOCK.findall(page.read_text())]


def load_make() -> ModuleType:
    """The script that makes parts of the pages."""
    spec = util.spec_from_file_location("docs_make", DOCS / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_page(page: Path, folder: Path) -> list[str]:
    """Execute the blocks of a page that are not marked, in a folder. Returns what each script of the gallery printed.

    Blocks of Python are one program, which runs where the last of them stands. A block of TOML that begins with the
    name of a file is written to it. The checkout's tests and results can be seen from the folder.
    """
    for name in ("tests", "results"):
        (folder / name).symlink_to(ROOT / name)
    executed = [block for block in blocks(page) if not block.why_not]
    programs = [one for one in executed if one.language == "python" and not one.comment.startswith(_SCRIPT)]
    printed = []
    for block in executed:
        if block.language == "python":
            if block.comment.startswith(_SCRIPT):
                script = DOCS / "gallery" / "scripts" / f"{block.comment.removeprefix(_SCRIPT)}.py"
                assert script.read_text() == block.text, (
                    f"{page}: `make docs` writes {script.name} as it is now"
                )
                printed.append(_run([sys.executable, str(script)], folder))
                continue
            if block is programs[-1]:
                _run([sys.executable, "-c", "".join(one.text for one in programs)], folder)
        elif block.language == "sh":
            _run(["bash", "-euo", "pipefail", "-c", block.text], folder)
        elif block.language == "toml" and (name := _FILE.match(block.text.partition("\n")[0])):
            (folder / name[1]).write_text(block.text)
    return printed


def _run(command: list[str], folder: Path) -> str:
    """What a command prints. Raises AssertionError with its last lines where it fails."""
    places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def same(printed: str, on_page: str) -> bool:
    """Whether two texts have the same words, and numbers that agree but for rounding."""
    words = [_NUMBER.sub("#", text).split() for text in (printed, on_page)]
    numbers = [[float(one.replace(",", "")) for one in _NUMBER.findall(text)] for text in (printed, on_page)]
    if words[0] != words[1] or len(numbers[0]) != len(numbers[1]):
        return False
    pairs = zip(*numbers, strict=True)
    return all(math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE) for a, b in pairs)
