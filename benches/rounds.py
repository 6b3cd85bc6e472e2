"""Runs commands in turn and sums up what they took.

Times come from a monotonic clock around the child, CPU and peak memory from `os.wait4`. Linux counts
what the parent held at the fork in the child's peak, so a bare interpreter launches and times each
command: only peaks below its own 9 MB or so cannot be told.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

BENCH = Path.home() / ".cache/hygge/bench"
HYGGE = Path.home() / ".cache/hygge/target/release/hygge"

LAUNCHER = """
import os, sys, time
start = time.perf_counter()
child = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(child, 0)
wall, code = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
print(f"\\n{code} {wall} {usage.ru_utime + usage.ru_stime} {usage.ru_maxrss}", end="")
"""


@dataclass(frozen=True)
class Run:
    """What one command took: seconds, seconds of user and system time, peak bytes, and what it printed."""

    wall: float
    cpu: float
    rss: int
    output: str

    def then(self, after):
        """Both commands as one, with the output of the first."""
        return replace(self, wall=self.wall + after.wall, cpu=self.cpu + after.cpu, rss=max(self.rss, after.rss))


def hygge_option(parser):
    """Adds `--hygge`; a program that is not there is an error before any data is made."""

    def program(path):
        if not Path(path).is_file():
            raise argparse.ArgumentTypeError(f"no program at {path}; build it first")
        return Path(path).resolve()

    parser.add_argument("--hygge", type=program, default=str(HYGGE), metavar="PATH", help="the program to measure")


def run(*command, cwd=None):
    """Runs a command to its end, with its two outputs as one; anything but exit code 0 ends the benchmark."""
    launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, *map(str, command)]
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(launch, cwd=cwd, stdin=subprocess.DEVNULL, check=True, **outputs)
    output, _, taken = done.stdout.rpartition("\n")
    code, wall, cpu, peak = taken.split()
    if code != "0":
        sys.exit(f"{' '.join(map(str, command))} ended with exit code {code}:\n{output.strip()}")
    return Run(float(wall), float(cpu), int(peak) * 1024, output.strip())


def in_turn(contenders, rounds):
    """Calls every contender once a round, always in the same order; gives each one's runs by its name."""
    runs = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            runs[name].append(contender())
    return runs


def without_import(polars):
    """The scripts print how many seconds `import polars` took."""
    return replace(polars, wall=polars.wall - float(polars.output))


def contender(folder, command, check, config=""):
    """One run from nothing to outputs on the disk: what the command took, and what the sync after it took."""

    def from_nothing():
        folder.mkdir()
        (folder / "hygge.yml").write_text(config)
        run("sync", "-f", folder)
        taken = run(*command), run("sync", "-f", folder)
        check(folder / "store")
        shutil.rmtree(folder)
        return taken

    return from_nothing


def measure(contenders, rounds):
    """Each contender's runs without and with their sync, after one round that only warms the caches."""
    in_turn(contenders, 1)
    rows = {}
    for name, runs in in_turn(contenders, rounds).items():
        rows[name] = [command for command, _ in runs]
        rows[f"{name} + sync"] = [command.then(sync) for command, sync in runs]
    return rows


def table(runs, subject, unit):
    """A markdown table: median (min to max) of each measure, and how many times a row's wall time the subject takes."""
    scale = {"s": 1, "ms": 1000}[unit]
    lines = [
        f"| median (min to max) | wall, {unit} | user + sys, {unit} | peak RSS, MB "
        f"| {subject} / this, medians | {subject} / this, median of pairs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    ours = [run.wall for run in runs[subject]]
    for name, its in runs.items():
        theirs = [run.wall for run in its]
        cells = [
            name,
            spread([wall * scale for wall in theirs]),
            spread([run.cpu * scale for run in its]),
            spread([run.rss / 1e6 for run in its]),
            f"{median(ours) / median(theirs):.2f}",
            f"{median(our / their for our, their in zip(ours, theirs)):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values):
    """`median (min to max)` with three digits or more."""
    digits = 2 if median(values) < 10 else 1 if median(values) < 100 else 0
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def setting(*versions):
    """One line on what the numbers depend on."""
    return ", ".join([f"{os.cpu_count()} cores", f"load {os.getloadavg()[0]:.1f}", *versions])


@contextmanager
def work_folder(keep):
    """A new folder for one benchmark, removed at its end unless it is to be kept."""
    BENCH.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=BENCH))
    try:
        yield folder
    finally:
        if keep:
            print(f"\nkept: {folder}")
        else:
            shutil.rmtree(folder)
