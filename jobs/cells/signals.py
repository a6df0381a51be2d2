"""Being asked to stop: a scheduler's signal is noted, and the worker looks at the note after each chunk."""

import signal
from types import FrameType

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
"""SIGUSR2: the time limit is near, or the job is preempted. SIGTERM: the job is being ended."""
_asked: list[signal.Signals] = []


def listen() -> None:
    """From now on, note the signals that ask for a stop instead of dying of them."""
    for number in STOP_SIGNALS:
        signal.signal(number, note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def stop_asked() -> signal.Signals | None:
    """The first signal that asked this process to stop, or None."""
    return _asked[0] if _asked else None


def note(number: int, frame: FrameType | None = None) -> None:
    """This process was asked to stop, by this signal or as if by it."""
    _asked.append(signal.Signals(number))
