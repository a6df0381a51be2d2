"""What a machine is, for measurements of speed: its processor, its memory, what else it is busy with."""

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine() -> dict[str, str | int | float]:
    """Name of the processor, cores (of the machine, and those that this process may use), instruction sets by which
    energies and torch compute, memory (GB), and system."""
    import torch  # noqa: F401 (its instruction set is told only where it is loaded)

    from prosebench.energy import compiled  # noqa: F401 (so is that of the energies)
    from prosebench.machine.build_info import instructions

    return {
        "processor": processor(),
        "cores": os.cpu_count() or 0,
        "usable_cores": len(os.sched_getaffinity(0)),
        "instructions": instructions(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """The processor's name, from Linux's file about it; elsewhere what Python knows."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def load_average() -> list[float]:
    """Processes that wanted to run in the last 1, 5 and 15 minutes, in the mean; this one is among them."""
    return [round(value, 2) for value in os.getloadavg()]
