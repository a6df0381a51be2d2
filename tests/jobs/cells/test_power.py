"""Joules come from counters, also where these begin again at 0; without counters nothing is written."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from jobs.cells import power
from jobs.cells.power import Meters, gpus, measured, packages
from prosebench.machine.joules import read_readings


def make_powercap(folder: Path, microjoules: int = 1_000_000) -> Path:
    """Files as Linux has them, of two packages, a part of one, and the whole machine."""
    names = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:0:0": "core"}
    for name, what in {**names, "intel-rapl:2": "psys"}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "name").write_text(f"{what}\n")
        (folder / name / "max_energy_range_uj").write_text("5000000\n")
        (folder / name / "energy_uj").write_text(f"{microjoules}\n")
    return folder


def test_packages_alone_are_counted(tmp_path: Path) -> None:
    found = packages(make_powercap(tmp_path))
    assert [counter.file.parent.name for counter in found] == ["intel-rapl:0", "intel-rapl:1"]
    assert [counter.joules() for counter in found] == [1.0, 1.0]
    (tmp_path / "intel-rapl:1" / "energy_uj").unlink()
    assert len(packages(tmp_path)) == 1
    assert packages(tmp_path / "nothing") == []


def test_a_counter_that_begins_again_goes_on(tmp_path: Path) -> None:
    folder = make_powercap(tmp_path)
    meters = Meters(packages(folder))
    file = folder / "intel-rapl:0" / "energy_uj"
    meters.look()
    for microjoules in (4_000_000, 500_000, 2_500_000):
        file.write_text(f"{microjoules}\n")
        meters.look()
    # From 1 J: 3 up to 4, 1.5 over the end at 5 to 0.5, then 2.
    assert meters.sums == {"cpu": pytest.approx(6.5)}
    file.write_text("nonsense")
    meters.look()
    assert meters.sums == {"cpu": pytest.approx(6.5)}


def test_what_was_counted_is_in_the_run_folder_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, run = make_powercap(tmp_path / "powercap"), tmp_path / "run"
    monkeypatch.setattr(power, "PAUSE_SECONDS", 0.02)
    before = time.time()
    with measured(run, packages(folder)):
        (folder / "intel-rapl:1" / "energy_uj").write_text("3000000")
        ends = time.monotonic() + 20
        while not any(one.joules.get("cpu") == 2.0 for one in read_readings(run)):
            assert time.monotonic() < ends
            time.sleep(0.01)
        (folder / "intel-rapl:0" / "energy_uj").write_text("1500000")
    (reading,) = read_readings(run)
    assert reading.joules == {"cpu": pytest.approx(2.5)}
    assert reading.seconds > 0
    assert before <= reading.started <= reading.ended <= time.time() + 1.0
    with measured(tmp_path / "none", []):
        pass
    assert not (tmp_path / "none").exists()


def test_damaged_readings_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "joules").mkdir()
    (tmp_path / "joules" / "a.json").write_text("{}")
    (tmp_path / "joules" / "b.json").write_text("no json")
    assert read_readings(tmp_path) == []


STAND_IN = """
#include <string.h>
extern "C" int nvmlInit_v2() { return 0; }
extern "C" int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
  *handle = (void *)(long)(index + 1); return index > 1; }
extern "C" int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
  *handle = (void *)9L; return strcmp(uuid, "GPU-abc"); }
extern "C" int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
  strncpy(text, (long)handle == 9 ? "GPU-abc" : "GPU-first", length); return 0; }
extern "C" int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
  *millijoules = 1000ULL * (long)handle; return (long)handle == 2; }
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build a stand-in for NVML")
def test_visible_gpus_are_asked_by_number_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a library in NVML's place: its second GPU, as an old one, does not count."""
    (tmp_path / "nvml.cpp").write_text(STAND_IN)
    library = tmp_path / "libnvml.so"
    subprocess.run(["g++", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.cpp"], check=True)
    monkeypatch.setattr(power, "_NVML", str(library))
    for visible, found in (
        ("0,1,5", [("gpu GPU-first", 1.0)]),
        ("GPU-abc", [("gpu GPU-abc", 9.0)]),
        ("GPU-other", []),
        ("", []),
    ):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert [(counter.part, counter.joules()) for counter in gpus()] == found
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with measured(tmp_path / "run", gpus()):
        pass
    (reading,) = read_readings(tmp_path / "run")
    assert reading.joules == {"gpu GPU-first": 0.0}


def test_gpus_count_up_where_there_are_some() -> None:
    found = gpus()
    if not found:
        pytest.skip("no GPU here whose energy NVML counts")
    before = [counter.joules() for counter in found]
    time.sleep(1.0)
    more = [counter.joules() - was for counter, was in zip(found, before, strict=True)]
    assert all(1.0 < joules < 2000.0 for joules in more), (
        "a GPU draws some watts at rest, and at most some hundred"
    )
