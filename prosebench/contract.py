"""The contract: what every method must do, checked on targets with known answers.

`prosebench check METHOD` (in a process of its own: `prosebench.check.separately`) and the test suite run the same
functions. Each takes a `Case`, returns a sentence that says
what was seen, and raises ContractBroken where the method does not hold to it. A green check proves that much, and no
more: a smaller bias, or one on another target, it cannot see.
"""

import traceback
from collections.abc import Callable
from pathlib import Path

from prosebench.check.case import Case, ContractBroken, Trial, run_chunks
from prosebench.check.moments import moments_are_right, rejected_moves_count
from prosebench.check.rules import (
    budget_is_kept,
    chunks_resume,
    energies_belong_to_frames,
    frames_are_single,
    moves_on_a_peptide,
    prefixes_are_prefixes,
    seeds_are_honoured,
    settings_are_json,
    skip_gives_a_reason,
)

__all__ = [
    "CHECKS",
    "Case",
    "ContractBroken",
    "Trial",
    "moves_on_a_peptide",
    "name_of",
    "outcome",
    "run_chunks",
]

CHECKS: tuple[Callable[[Case], str], ...] = (
    settings_are_json,
    skip_gives_a_reason,
    budget_is_kept,
    energies_belong_to_frames,
    chunks_resume,
    seeds_are_honoured,
    prefixes_are_prefixes,
    frames_are_single,
    moves_on_a_peptide,
    moments_are_right,
    rejected_moves_count,
)


def name_of(check: Callable[[Case], str]) -> str:
    """A check as it is called in a report."""
    return check.__name__.replace("_", " ")


def outcome(check: Callable[[Case], str], case: Case) -> tuple[bool, str]:
    """Whether a method passes a check, and what was seen: for one that raises or exits, what and where."""
    try:
        return True, check(case)
    except ContractBroken as broken:
        return False, str(broken)
    except KeyboardInterrupt:
        raise
    except SystemExit as end:
        return False, f"called sys.exit({end.code!r}){_place(end)}: a method must not end the process"
    except BaseException as error:
        return False, f"raised {type(error).__name__}: {str(error) or 'without a message'}{_place(error)}"


def _place(error: BaseException) -> str:
    """The file and line, outside of our own code, that are nearest to where an error was raised; empty if
    there is none."""
    ours = str(Path(__file__).parent)
    lines = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(ours)
    ]
    return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""
