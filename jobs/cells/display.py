"""What a user sees while cells run: a live table on a terminal, a plain line now and then elsewhere."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobs.cells.status import STATES, CellState, State, find_log, read_state
from prosebench.machine.terminal import plain_table

REFRESH_SECONDS = 0.5
FIRST_LOG_SECONDS, LONGEST_LOG_SECONDS = 10.0, 300.0
"""Without a terminal, progress is printed as lines. These are the first and the longest pause between them in
seconds. Pauses grow, so that a run of days does not leave a log of ten thousand lines."""
MOST_ROWS = 40
MOST_NAMED = 8
_ENDED: tuple[State, ...] = ("done", "skipped", "failed", "parked")
_MENTIONED: tuple[State, ...] = ("running", "failed", "parked", "skipped")


class Progress:
    """Follows cells on disk. Use as a context manager; call it as often as you like, it looks at its own pace."""

    def __init__(self, folders: Sequence[Path], console: Console) -> None:
        self._folders = folders
        self._console = console
        self._line = ""
        self._ended: dict[Path, CellState] = {}
        self._sittings: dict[Path, CellState] = {}
        self._last_look = self._last_log = float("-inf")
        self._log_pause = FIRST_LOG_SECONDS
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._line = ""
        self._show(self._look(), final=True)
        if self._live:
            self._live.stop()

    def __call__(self, line: str = "") -> None:
        self._line = line
        if time.monotonic() - self._last_look >= REFRESH_SECONDS:
            self._show(self._look(), final=False)

    def _look(self) -> list[CellState]:
        states = []
        for folder in self._folders:
            state = self._ended.get(folder) or read_state(folder)
            if state.state in ("done", "skipped"):
                self._ended[folder] = state
            if state.rate:
                self._sittings[folder] = state
            states.append(state)
        self._last_look = time.monotonic()
        return states

    def _show(self, states: list[CellState], *, final: bool) -> None:
        line = self._summary(states)
        if self._live:
            self._live.update(Group(Text(line), _running_table(states)))
        elif final or self._last_look - self._last_log >= self._log_pause:
            self._log_pause = min(1.1 * self._log_pause, LONGEST_LOG_SECONDS)
            self._last_log = self._last_look
            now = [f"{state.cell.peptide}/{state.cell.row}" for state in states if state.state == "running"]
            self._console.print(f"{time.strftime('%H:%M:%S')} {line}{_on(now)}", soft_wrap=True)

    def _summary(self, states: list[CellState]) -> str:
        counts = Counter(state.state for state in states)
        ended = sum(state.state in _ENDED for state in states)
        parts = [f"{ended}/{len(states)} cells ended"]
        parts += [f"{counts[name]} {name}" for name in _MENTIONED if counts[name]]
        rates = paces(list(self._sittings.values()))
        running = {state.cell.row for state in states if state.state == "running"} & set(rates)
        if running:
            shown = ", ".join(f"{row} {rates[row]:,.0f}" for row in sorted(running)[:MOST_NAMED])
            parts.append(f"evaluations/s of a cell: {shown}")
        parts += time_left([state for state in states if state.state not in _ENDED], rates)
        return ", ".join(parts) + (f"; {self._line}" if self._line else "")


def _on(cells: Sequence[str]) -> str:
    """The names of the cells at work, in one line; many cells of one kind are put together."""
    kinds = [f"{number} x {name}" if number > 1 else name for name, number in Counter(cells).items()]
    more = f" and {len(kinds) - MOST_NAMED} more kinds" if len(kinds) > MOST_NAMED else ""
    return f"; on {', '.join(kinds[:MOST_NAMED])}{more}" if kinds else ""


def paces(sittings: Sequence[CellState]) -> dict[str, float]:
    """Evaluations per second of a cell by row, over all sittings seen: one that has just begun weighs little."""
    sums: dict[str, tuple[int, float]] = {}
    for state in sittings:
        evaluations, seconds = sums.get(state.cell.row, (0, 0.0))
        sums[state.cell.row] = (evaluations + state.sitting[0], seconds + state.sitting[1])
    return {row: evaluations / seconds for row, (evaluations, seconds) in sums.items() if seconds > 0}


def time_left(unfinished: Sequence[CellState], rates: Mapping[str, float]) -> list[str]:
    """What to say of the time left, if anything: at the pace of each row, for those that have one.

    rates holds evaluations per second of a cell by row: one of a flow may take a thousand times as long as one of MD.
    """
    seconds = [
        (state.cell.budgets[-1] - state.spent) / rates[state.cell.row]
        for state in unfinished
        if state.cell.row in rates
    ]
    if not seconds:
        return []
    side_by_side = max(1, sum(state.state == "running" for state in unfinished))
    about = "about" if len(seconds) == len(unfinished) else "at least"
    # However many are side by side, the longest cell is done by one of them.
    return [f"{about} {format_seconds(max(sum(seconds) / side_by_side, max(seconds)))} left"]


def format_seconds(seconds: float) -> str:
    """A duration as people say it: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def count(number: int, what: str) -> str:
    """A number of things: 1 job, 2 jobs."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _running_table(states: list[CellState]) -> Table:
    table = plain_table()
    for heading in (
        "peptide",
        "method",
        "seed",
        "evaluations",
        "of",
        "per second",
        "left",
        "last sign",
        "job",
    ):
        table.add_column(
            heading, justify="left" if heading in ("peptide", "method", "seed", "job") else "right"
        )
    running = [state for state in states if state.state == "running"]
    for state in running[:MOST_ROWS]:
        cell, name = state.cell, state.cell.peptide
        numbers = (f"{state.spent:,}", f"{cell.budgets[-1]:,}", *_pace(state))
        table.add_row(name, cell.row, str(cell.seed), *numbers, _ago(state), state.job)
    if len(running) > MOST_ROWS:
        table.add_row(f"and {len(running) - MOST_ROWS} more")
    return table


def _pace(state: CellState) -> tuple[str, str]:
    left = state.seconds_left
    return f"{state.rate:,.0f}" if state.rate else "", "" if left is None else format_seconds(left)


def _ago(state: CellState) -> str:
    return "" if state.age_seconds is None else f"{format_seconds(state.age_seconds)} ago"


def status_tables(states: Sequence[CellState]) -> list[Table]:
    """Counts by method, and by peptide where that is no long list; then cells neither finished nor waiting."""
    counts = plain_table()
    shown = [name for name in STATES if any(state.state == name for state in states)]
    long = len({(state.cell.row, state.cell.peptide) for state in states}) > MOST_ROWS
    for heading in ("method", "peptide", *shown, "evaluations", "of"):
        counts.add_column(heading, justify="left" if heading in ("method", "peptide") else "right")
    groups: dict[tuple[str, str], list[CellState]] = {}
    for state in states:
        groups.setdefault((state.cell.row, "all" if long else state.cell.peptide), []).append(state)
    for group, mine in groups.items():
        number = Counter(state.state for state in mine)
        spent, asked = sum(state.spent for state in mine), sum(state.cell.budgets[-1] for state in mine)
        counts.add_row(*group, *(str(number[name] or "") for name in shown), f"{spent:,}", f"{asked:,}")
    details = plain_table()
    for heading in ("cell", "state", "evaluations", "per second", "left", "last sign", "reason"):
        details.add_column(heading)
    for state in states:
        if state.state not in ("done", "waiting"):
            numbers = (f"{state.spent:,}", *_pace(state), _ago(state))
            details.add_row(state.folder.name, state.state, *numbers, with_log(state))
    return [counts, details] if details.row_count else [counts]


def waiting_lines(states: Sequence[CellState]) -> list[str]:
    """What cells that wait are waiting for, a line a job: first those that ended, then those in the queue."""
    said = Counter(with_log(state) for state in states if state.state == "waiting" and state.reason)
    texts = sorted(said, key=lambda text: (text.startswith("in job"), text))
    lines = [f"waiting: {count(said[text], 'cell')}; {text}" for text in texts[:MOST_NAMED]]
    return [*lines, f"and {len(texts) - MOST_NAMED} more jobs"] if len(texts) > MOST_NAMED else lines


def with_log(state: CellState) -> str:
    """The reason, and where to read more: the traceback, or the output of the job."""
    if state.state == "running":
        return f"job {state.job}" if state.job else ""
    log = find_log(state.folder.parent.parent, state.job) if state.job else None
    where = f"{state.folder / 'failure.json'}" if state.state in ("failed", "parked") else ""
    return "; ".join(part for part in (state.reason, where, f"log: {log}" if log else "") if part)
