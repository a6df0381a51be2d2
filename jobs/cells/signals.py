"""Being asked to stop: a scheduler's signal is noted, and the worker looks at the note after each chunk."""

import multiprocessing
import os
import signal
import threading
import time
from types import FrameType
from typing import NoReturn

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
"""The signals that ask a worker to stop. SIGUSR2 says that the time limit is near, or that the job is
preempted; SIGTERM says that the job is being ended."""
GRACE_SECONDS = 5.0
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


def end_on_hangup() -> None:
    """From now on SIGHUP, as when a terminal closes, and SIGTERM unwind this process, so that it ends its workers.

    A signal that is ignored, as under nohup, stays so.
    """
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _unwind)


def _unwind(number: int, frame: FrameType | None = None) -> NoReturn:
    raise SystemExit(128 + number)


def end_with_parent() -> None:
    """From now on, end within seconds once the process that started this one is gone, however it ended.

    What is being computed may finish within GRACE_SECONDS, and is stored then; else it is dropped.
    """

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            note(signal.SIGHUP)
            time.sleep(GRACE_SECONDS)
            os._exit(128 + signal.SIGHUP)

    threading.Thread(target=watch, daemon=True).start()
