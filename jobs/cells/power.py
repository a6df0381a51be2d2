"""Counters of energy: RAPL's of CPU packages, which Linux shows as files, and NVML's of NVIDIA GPUs.

Both count joules since some moment; a thread reads them now and then, since RAPL's begin again at 0 after some minutes.
Many sites let nobody but root read RAPL's files; then, and where there are no counters, nothing is measured.
"""

import ctypes
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from jobs.cells.heartbeat import scheduler_job
from prosebench.flows.gpus import visible_gpus
from prosebench.machine.joules import Reading, write_reading

POWERCAP = Path("/sys/class/powercap")
PAUSE_SECONDS = 30.0
"""Seconds between two readings of the counters. They must be read more often than they begin again at 0: a
RAPL counter of 32 bits in units of 61 microjoules does so after 14 minutes at 300 W."""
_NVML = "libnvidia-ml.so.1"
_UUID_BYTES = 96
"""The size in bytes of the text in which NVML writes the UUID of a GPU (its NVML_DEVICE_UUID_V2_BUFFER_SIZE)."""


class Counter(Protocol):
    """Something that counts energy."""

    @property
    def part(self) -> str:
        """The part of the machine whose energy it counts: "cpu", or "gpu" and its UUID."""
        ...

    @property
    def round_joules(self) -> float:
        """The joules at which the counter begins again at 0; 0 for one that never does."""
        ...

    def joules(self) -> float:
        """Joules so far. Raises OSError where it cannot be read."""
        ...


@dataclass(frozen=True)
class Package:
    """A CPU package, by the file of its counter."""

    file: Path
    round_joules: float
    part: str = "cpu"

    def joules(self) -> float:
        """Joules so far."""
        return int(self.file.read_text()) * 1e-6


def packages(powercap: Path = POWERCAP) -> list[Counter]:
    """The CPU packages whose counters can be read; intel-rapl is the name on CPUs of AMD, too."""
    found: list[Counter] = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        with suppress(OSError, ValueError):
            # Below a package stand its parts (cores, DRAM), which are in it; psys is the whole machine once more.
            if folder.name.count(":") == 1 and (folder / "name").read_text().startswith("package"):
                limit = int((folder / "max_energy_range_uj").read_text()) * 1e-6
                counter = Package(folder / "energy_uj", limit)
                counter.joules()
                found.append(counter)
    return found


@dataclass(frozen=True)
class Gpu:
    """A GPU, by NVML's library and its handle there."""

    library: ctypes.CDLL
    handle: ctypes.c_void_p
    part: str
    round_joules: float = 0.0

    def joules(self) -> float:
        """Joules since the driver was loaded."""
        millijoules = ctypes.c_ulonglong()
        if self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle, ctypes.byref(millijoules)):
            raise OSError("NVML does not count the energy of this GPU")
        return millijoules.value * 1e-3


def gpus() -> list[Counter]:
    """The GPUs that this process sees, as far as NVML counts their energy (from Volta on)."""
    names = visible_gpus()
    if not names:
        return []
    try:
        library = ctypes.CDLL(_NVML)
    except OSError:
        return []
    if library.nvmlInit_v2():
        return []
    found: list[Counter] = []
    for name in names:
        handle = ctypes.c_void_p()
        wrong = (
            library.nvmlDeviceGetHandleByIndex_v2(int(name), ctypes.byref(handle))
            if name.isdigit()
            else library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
        )
        with suppress(OSError):
            if not wrong:
                counter = Gpu(library, handle, f"gpu {_uuid(library, handle)}")
                counter.joules()
                found.append(counter)
    return found


def _uuid(library: ctypes.CDLL, handle: ctypes.c_void_p) -> str:
    """A GPU's name that is the same in every job, unlike its number among those that a job sees. Raises OSError."""
    text = ctypes.create_string_buffer(_UUID_BYTES)
    if library.nvmlDeviceGetUUID(handle, text, ctypes.c_uint(_UUID_BYTES)):
        raise OSError("NVML does not name this GPU")
    return text.value.decode("ascii", errors="replace")


@dataclass
class Meters:
    """Counters with what each has counted since the first look."""

    counters: list[Counter]
    sums: dict[str, float] = field(default_factory=dict)
    last: dict[int, float] = field(default_factory=dict)

    def look(self) -> None:
        """Add what has been counted since the last look."""
        for index, counter in enumerate(self.counters):
            with suppress(OSError, ValueError):
                now, before = counter.joules(), self.last.get(index)
                self.last[index] = now
                if before is None:
                    self.sums.setdefault(counter.part, 0.0)
                    continue
                more = now - before
                if more < 0.0:
                    more += counter.round_joules
                self.sums[counter.part] += max(more, 0.0)


@contextmanager
def measured(directory: Path, counters: list[Counter] | None = None) -> Iterator[None]:
    """Have the energy that this machine uses within it written into a run folder, now and then and at the end."""
    meters = Meters([*packages(), *gpus()] if counters is None else counters)
    if not meters.counters:
        yield
        return
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    unix_time, started, enough = time.time(), time.monotonic(), threading.Event()

    def write() -> None:
        meters.look()
        sums = {part: round(joules, 3) for part, joules in meters.sums.items()}
        reading = Reading(
            host=socket.gethostname(),
            job=scheduler_job(),
            started=unix_time,
            seconds=time.monotonic() - started,
            joules=sums,
        )
        # A cell is never lost for the sake of its joules.
        with suppress(OSError):
            write_reading(directory, name, reading)

    def watch() -> None:
        while not enough.wait(PAUSE_SECONDS):
            write()

    meters.look()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()
        write()
