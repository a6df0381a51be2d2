"""Being asked to stop: noted and not died of, or an orderly end, in processes of their own."""

import signal
import subprocess
import sys
import time

import pytest

from jobs.cells import signals


def ended(code: str, *sent: signal.Signals) -> tuple[int, str]:
    """Exit status and output of a Python process that is sent signals once it has said a first line."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for number in sent:
        process.send_signal(number)
        time.sleep(0.1)
    said = process.communicate(timeout=30)[0]
    return process.returncode, said


WAIT = """
import sys, time
from jobs.cells.signals import end_on_hangup, listen, stop_asked
{start}
print("ready", flush=True)
limit = time.monotonic() + 20
while stop_asked() is None and time.monotonic() < limit:
    time.sleep(0.01)
time.sleep(0.3)
print(stop_asked().name, flush=True)
"""


@pytest.mark.parametrize("first", [signal.SIGUSR2, signal.SIGTERM])
def test_the_first_signal_is_what_was_asked_and_none_kills(first: signal.Signals) -> None:
    status, said = ended(WAIT.format(start="listen()"), first, signal.SIGUSR2)
    assert (status, said) == (0, f"{first.name}\n")


def test_a_signal_that_came_before_anybody_listened_is_heard() -> None:
    start = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
import os
os.kill(os.getpid(), signal.SIGUSR2)
listen()
"""
    assert ended(WAIT.format(start=start)) == (0, "SIGUSR2\n")


UNWIND = """
import signal, time
from jobs.cells.signals import end_on_hangup
{start}
end_on_hangup()
try:
    print("ready", flush=True)
    time.sleep({seconds})
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_hangup_unwinds_the_process(number: signal.Signals) -> None:
    assert ended(UNWIND.format(start="", seconds=20), number) == (128 + number, "cleaned up\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    start = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    assert ended(UNWIND.format(start=start, seconds=0.5), signal.SIGHUP) == (0, "cleaned up\n")


def test_nobody_has_asked_until_somebody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_asked", [])
    assert signals.stop_asked() is None
    signals.note(signal.SIGHUP)
    signals.note(signal.SIGTERM)
    assert signals.stop_asked() == signal.SIGHUP
