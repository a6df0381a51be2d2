"""Stand-ins for the commands of PBS and LSF: they read scripts as the real ones do, and run the jobs at once.

`python stand_ins.py FOLDER COMMAND ARGUMENTS...`; everything they know is in FOLDER. Where a file `hold` is there, jobs
wait; where there is `garbled`, qstat says no JSON. `asked` has a line for each command that was given. Options that the
manuals do not name are refused.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

COMMANDS = {
    "pbs": ("qsub", "qstat", "qdel", "qrerun", "qmgr"),
    "lsf": ("bsub", "bjobs", "bkill", "brequeue", "bparams", "lsid"),
}
PBS_OPTIONS, LSF_OPTIONS = "NjorVJlqA", ("J", "o", "r", "n", "R", "M", "W", "q", "P", "gpu", "x")


def install(folder: Path, scheduler: str) -> Path:
    """Make the commands of a scheduler; the folder to put on the PATH."""
    (folder / "bin").mkdir(parents=True)
    (folder / "jobs").mkdir()
    for name in COMMANDS[scheduler]:
        path = folder / "bin" / name
        path.write_text(f'#!/bin/bash\nexec {sys.executable} -S {__file__} {folder} {name} "$@"\n')
        path.chmod(0o755)
    return folder / "bin"


def load(folder: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "jobs").glob("*.json"))}


def save(folder: Path, key: str, job: dict) -> None:
    temporary = folder / "jobs" / f"{key}.new"
    temporary.write_text(json.dumps(job))
    temporary.replace(folder / "jobs" / f"{key}.json")


def refuse(said: str) -> None:
    print(said, file=sys.stderr)
    sys.exit(1)


def accept(folder: Path, script: str, name: str, indices: list[int], variables: dict, out: str) -> int:
    """Take an array of jobs in and start each."""
    number = 1 + max((int(key.split("-")[0]) for key in load(folder)), default=6)
    path = folder / f"{number}.sh"
    path.write_text(script)
    for index in indices:
        key = f"{number}-{index}"
        environment = {k: v.format(number=number, index=index) for k, v in variables.items()}
        log = out.format(number=number, index=index)
        job = {"name": name, "number": number, "index": index, "array": len(indices) > 1, "state": "waits"}
        save(folder, key, job | {"environment": environment, "log": log})
        if not (folder / "hold").exists():
            subprocess.Popen(
                [sys.executable, "-S", __file__, str(folder), "work", key, str(path)],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    return number


def work(folder: Path, key: str, script: str) -> None:
    """Run one job to its end, and again where it was put back into the queue."""
    job = load(folder)[key]
    environment = os.environ | job["environment"]
    while True:
        with Path(job["log"]).open("a") as log:
            process = subprocess.Popen(
                ["bash", script], stdout=log, stderr=subprocess.STDOUT, env=environment
            )
            save(folder, key, job | {"state": "runs", "pid": process.pid})
            status = process.wait()
        if not load(folder)[key].get("again"):
            break
    save(folder, key, job | {"state": "ended", "status": status})


def end(folder: Path, number: str, index: str, status: int | None) -> None:
    """End a job; status is that of one that has not started."""
    key = f"{number}-{index}"
    job = load(folder).get(key) or refuse(f"Unknown Job Id {number}[{index}]")
    if job["state"] == "runs":
        os.kill(job["pid"], signal.SIGTERM)
    else:
        save(folder, key, job | {"state": "ended", "status": status})


def qsub(folder: Path, script: str) -> None:
    text, options = Path(script).read_text(), {}
    for line in re.findall(r"^#PBS (.*)$", text, re.MULTILINE):
        found = re.fullmatch(r"-(\w)(?: (.+))?", line)
        if not found or found[1] not in PBS_OPTIONS:
            refuse(f"qsub: illegal option {line}")
        options.setdefault(found[1], []).append((found[2] or "").strip('"'))
    wanted = dict(one.split("=", 1) for one in options["l"])
    if not re.fullmatch(r"\d+:\d\d:\d\d", wanted["walltime"]) or not wanted["select"].startswith("1:ncpus="):
        refuse(f"qsub: illegal -l value {wanted}")
    if options.get("q") == ["nowhere"]:
        refuse("qsub: Unknown queue")
    name, logs = options["N"][0], options["o"][0]
    if "J" not in options:
        number = accept(folder, text, name, [0], {"PBS_JOBID": "{number}.srv"}, f"{logs}{name}.o{{number}}")
        print(f"{number}.srv")
        return
    first, last = map(int, options["J"][0].partition("%")[0].split("-"))
    if last <= first:
        refuse("qsub: illegally formed option -J: an array has two jobs at least")
    variables = {"PBS_JOBID": "{number}[{index}].srv", "PBS_ARRAY_INDEX": "{index}"}
    out = f"{logs}{name}.o{{number}}.{{index}}"
    print(f"{accept(folder, text, name, list(range(first, last + 1)), variables, out)}[].srv")


def qstat(folder: Path, *arguments: str) -> None:
    if arguments[:1] == ("-B",):
        return
    if arguments[:1] == ("--version",):
        print("pbs_version = stand-in")
        return
    if (folder / "garbled").exists():
        print("Jobs: none of your business")
        return
    jobs = {}
    for one in load(folder).values():
        if one["state"] == "ended" and "-x" not in arguments:
            continue
        state = {"waits": "Q", "runs": "R", "ended": "F"}[one["state"]]
        job = {
            "Job_Name": one["name"],
            "job_state": state,
            "Job_Owner": f"{os.environ['STAND_IN_USER']}@login",
        }
        if state == "Q":
            job["comment"] = "Not Running: held"
        if state == "F" and one["status"] is not None:
            job["Exit_status"] = one["status"]
        if one["array"]:
            jobs[f"{one['number']}[].srv"] = {"Job_Name": one["name"], "job_state": "B"}
        jobs[f"{one['number']}[{one['index']}].srv" if one["array"] else f"{one['number']}.srv"] = job
    print(json.dumps({"timestamp": 1, "Jobs": jobs}))


def qdel(folder: Path, *jobs: str) -> None:
    for job in jobs:
        number, index = re.match(r"(\d+)(?:\[(\d+)\])?", job).groups()
        # The history has no exit status of a job that never ran.
        end(folder, number, index or "0", None)


def qmgr(folder: Path, *_: str) -> None:
    print("#\nset server max_array_size = 20")


def qrerun(folder: Path, *_: str) -> None:
    refuse("qrerun: Unauthorized Request")


def bsub(folder: Path) -> None:
    text, options = sys.stdin.read(), {}
    for line in re.findall(r"^#BSUB (.*)$", text, re.MULTILINE):
        found = re.fullmatch(r'-(\w+)(?: "([^"]+)"| (\S+))?', line)
        if not found or found[1] not in LSF_OPTIONS:
            refuse(f"Bad argument: {line}. Job not submitted.")
        options.setdefault(found[1], []).append(found[2] or found[3] or "")
    if options.get("q") == ["nowhere"]:
        refuse("nowhere: No such queue. Job not submitted.")
    name, last = re.match(r"([\w-]+)\[1-(\d+)\]", options["J"][0]).groups()
    if not any("span[hosts=1]" in one for one in options["R"]) or not options["W"][0].isdecimal():
        refuse("Bad resource requirement syntax. Job not submitted.")
    variables = {"LSB_JOBID": "{number}", "LSB_JOBINDEX": "{index}"}
    out = options["o"][0].replace("%J", "{number}").replace("%I", "{index}")
    number = accept(folder, text, name, list(range(1, int(last) + 1)), variables, out)
    print(f"Job <{number}> is submitted.")


def bjobs(folder: Path, *_: str) -> None:
    jobs = load(folder)
    if not jobs:
        refuse("No job found")
    for one in jobs.values():
        state = {"waits": "PEND", "runs": "RUN", "ended": "EXIT" if one.get("status") else "DONE"}[
            one["state"]
        ]
        code, reason = one.get("status") or "-", "Held" if state == "PEND" else "-"
        user = os.environ["STAND_IN_USER"]
        print(f"{one['number']}|{one['index']}|{state}|{user}|{one['name']}[{one['index']}]|{code}|{reason}")


def bkill(folder: Path, *jobs: str) -> None:
    for job in jobs:
        end(folder, *re.fullmatch(r"(\d+)\[(\d+)\]", job).groups(), 130)


def brequeue(folder: Path, job: str) -> None:
    number, index = re.fullmatch(r"(\d+)\[(\d+)\]", job).groups()
    key = f"{number}-{index}"
    found = load(folder)[key]
    if found["state"] != "runs":
        refuse(f"Job <{job}>: Job is not running")
    save(folder, key, found | {"again": True})
    print(f"Job <{job}> is being requeued")


def bparams(folder: Path, *_: str) -> None:
    print("    MAX_JOB_ARRAY_SIZE = 30")


def lsid(folder: Path) -> None:
    print("IBM Spectrum LSF stand-in\nMy cluster name is here")


if __name__ == "__main__":
    with (Path(sys.argv[1]) / "asked").open("a") as asked:
        asked.write(" ".join(sys.argv[2:]) + "\n")
    globals()[sys.argv[2]](Path(sys.argv[1]), *sys.argv[3:])
