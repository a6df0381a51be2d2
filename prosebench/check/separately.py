"""The contract, checked in a process of its own: a method that ends its process is seen instead of ending the check."""

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

_AT_WORK, _RESULT, _END = "at work", "result", "end"


def check_separately(name: str) -> Iterator[tuple[str, bool | None, str]]:
    """Run every check on a method: the check's name, whether it passed, and what was seen.

    Before each check its name comes with None, for those who wait. Whatever the method does is a line, never an
    exception: a process that ends before its last check, with whatever exit code, is a failure of its own.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, there), daemon=True)
    process.start()
    there.close()
    check = ""
    try:
        while True:
            kind, check, *rest = here.recv()
            if kind == _END:
                return
            yield (check, None, "") if kind == _AT_WORK else (check, *rest)
    except EOFError:
        process.join()
        code = process.exitcode or 0
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        yield check or "can be loaded", False, f"the method ended the process of the check {how}"
    finally:
        process.terminate()
        process.join()


def _work(name: str, pipe: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from prosebench.check.case import Case
    from prosebench.contract import CHECKS, name_of, outcome
    from prosebench.method import BrokenMethod, load_method

    with tempfile.TemporaryDirectory() as scratch:
        try:
            case = Case(load_method(name), Path(scratch))
        except BrokenMethod as broken:
            pipe.send((_RESULT, "can be loaded", False, str(broken)))
        else:
            for check in CHECKS:
                pipe.send((_AT_WORK, name_of(check)))
                pipe.send((_RESULT, name_of(check), *outcome(check, case)))
    pipe.send((_END, ""))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
