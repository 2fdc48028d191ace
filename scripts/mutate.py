#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Plants faults in mm/, reclaim/ and vm/ one by one and sees whether a test notices each.

usage: mutate.py [--sample N] [--only TEXT] [--jobs N] [--check]

Puts each fault of tests/mutations.py into a copy of the tree (build/mutate), then builds
and runs the tests of its folder, with and without threads, and for a short time the
fuzzers, until one fails. Prints for each fault what caught it. The exit status is 1 if nothing
catches a fault and the table does not say why, or if the text of an entry is not in its
file exactly once: the table must follow the code.

--sample N takes N faults from all over the table, --only TEXT those whose file or
reason contains TEXT. --check plants nothing: it only looks for the texts of the entries.
"""

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts/pylib"), str(ROOT / "tests")]
import makefile  # noqa: E402
from mutations import MUTATIONS  # noqa: E402

WORK = ROOT / "build/mutate"
FOLDERS = ("mm", "lib", "include", "reclaim", "vm", "kernel", "devices", "arch",
           "tests/host", "tests/threads", "tests/fuzz")
# How the names of the programs begin that judge a fault in a folder.
JUDGES = {"mm": ("gmm", "pgm", "share", "mm"), "reclaim": ("reclaim",), "vm/machine": ("machine_",), "vm": ("vm_",)}
KINDS = ("host", "threads")  # the folders of build/ that hold objects
FUZZ_WORDS = {"gmm_fuzz": ["4000", "1"], "mm_fuzz": ["4000", "1"]}
# Where a file's own test is not named after it.
NEAREST = {"slat": "pgm_slat_test", "slat_npt": "pgm_slat_test", "slat_ept": "pgm_slat_test",
           "pgm_record": "pgm_region_test", "pgm_access": "pgm_fault_test", "pgm_page": "pgm_state_test",
           "pgm_balloon": "pgm_state_test", "pgm_free": "pgm_state_test",
           "ask": "reclaim_pass_test", "share_scan": "reclaim_pass_test", "share_merge": "reclaim_merge_test",
           "room": "reclaim_room_test", "zero_ahead": "reclaim_zero_ahead_test",
           "emulate": "machine_memory_test", "guest_memory": "machine_memory_test",
           "exit_cpuid": "machine_exit_test", "exit_io": "machine_io_test", "exit_msr": "machine_msr_test",
           "inject": "machine_inject_test", "machine": "machine_life_test",
           "machine_devices": "machine_life_test", "vcpu": "machine_vcpu_test", "vcpu_enter": "machine_vcpu_test",
           "vm": "vm_create_test", "vm_table": "vm_create_test", "vm_boot": "vm_create_test",
           "memory_wait": "vm_memory_wait_test", "notice": "vm_notice_test", "request": "vm_request_test"}
TIME_LIMIT_S = 40

FAILED_TEST = re.compile(r"^not ok \d+ - (\S+)", re.M)
COMPLAINT = re.compile(r"^.*(assertion failed|not so|lock order|runtime error|(?:ERROR|WARNING): \w+Sanitizer).*$",
                       re.M)


def programs(folders):
    """{folder: the programs that judge its faults}, as paths from build/; host tests come first."""
    names = [f"host/{name}_test" for name in makefile.variable("HOST_TESTS")]
    names += [f"threads/{name}_test" for name in makefile.variable("THREAD_TESTS")]
    names += [f"host/{name}" for name in FUZZ_WORDS]
    return {folder: [name for name in names if Path(name).name.startswith(JUDGES[folder])]
            for folder in folders}


def folder_of(row):
    """The first folder of JUDGES that the file is in."""
    return next(folder for folder in JUDGES if row.file.startswith(f"{folder}/"))


def in_order(names, path):
    """Puts programs that are named after the file first: gmm_share_test for mm/gmm/gmm_share.c."""
    stem = Path(path).stem
    nearest = NEAREST.get(stem, f"{stem}_test")
    module = Path(path).parent.name
    return sorted(names, key=lambda name: (Path(name).name != nearest,
                                           not Path(name).name.startswith(module),
                                           name.endswith("_fuzz")))


class Copy:
    """A copy of the tree with everything built, for one thread."""

    def __init__(self, folder):
        self.folder = folder

    @staticmethod
    def make(folder):
        shutil.rmtree(folder, ignore_errors=True)
        files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "Makefile", *FOLDERS],
                               cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        return Copy(folder)

    def clone(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder)  # keeps times, so nothing is built again
        return Copy(folder)

    def build(self, names, jobs=1):
        """Returns True, or what the compiler printed."""
        # Warnings are off: a fault may leave a function unused.
        result = subprocess.run(["make", "-s", f"-j{jobs}", "WARNINGS=-w", *[f"build/{name}" for name in names]],
                                cwd=self.folder, capture_output=True, text=True, check=False)
        return True if result.returncode == 0 else result.stderr

    def run(self, name):
        """Returns None if the program succeeds, else what it complains about."""
        command = [f"build/{name}", *FUZZ_WORDS.get(Path(name).name, [])]
        try:
            result = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE,
                                    stderr=subprocess.STDOUT, timeout=TIME_LIMIT_S, check=False,
                                    env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"})
        except subprocess.TimeoutExpired:
            return f"no end in {TIME_LIMIT_S} s"
        if result.returncode == 0:
            return None
        output = result.stdout.decode(errors="replace")
        test, complaint = FAILED_TEST.search(output), COMPLAINT.search(output)
        if test:
            return test.group(1)
        return complaint.group(0).strip()[:100] if complaint else f"status {result.returncode}"


class Fault:
    """One row of the table, in one copy."""

    def __init__(self, row, copy):
        self.row = row
        self.path = copy.folder / row.file
        self.copy = copy
        self.objects = [copy.folder / "build" / kind / Path(row.file).with_suffix(".o") for kind in KINDS]

    def __enter__(self):
        self.times = self.path.stat()
        self.text = self.path.read_text()
        self.object_bytes = {path: path.read_bytes() for path in self.objects if path.exists()}
        self.path.write_text(self.text.replace(self.row.old, self.row.new))

    def __exit__(self, *_):
        # With its old time and objects, a .c file is not compiled again for the next fault.
        self.path.write_text(self.text)
        if self.object_bytes:
            os.utime(self.path, ns=(self.times.st_atime_ns, self.times.st_mtime_ns))
        for path, content in self.object_bytes.items():
            path.write_bytes(content)


def text_problem(row, root):
    """Returns None if the text of the entry is in its file exactly once, else a complaint."""
    count = (root / row.file).read_text().count(row.old)
    return None if count == 1 else f"its text is in the file {count} times, not once"


def check(rows):
    """Looks for the texts of `rows`, prints each complaint, and returns the exit status."""
    problems = [(row, problem) for row in rows if (problem := text_problem(row, ROOT))]
    for row, problem in problems:
        print(f"{row.file}: {row.why}\n          {problem}: {row.old!r}")
    print(f"mutate: {len(rows)} faults, {len(problems)} of them broken")
    return 1 if problems or not rows else 0


def judge(row, copy, names):
    """Returns (verdict, detail); the verdict is caught, survived, explained or broken."""
    problem = text_problem(row, copy.folder)
    if problem:
        return "broken", problem
    with Fault(row, copy):
        for name in in_order(names, row.file):
            built = copy.build([name])
            if built is not True:
                return "broken", "does not build: " + built.strip().splitlines()[0]
            complaint = copy.run(name)
            if complaint:
                return "caught", f"{Path(name).name}: {complaint}"
    return ("explained", row.survives) if row.survives else ("survived", "every test passes")


def sample(rows, count):
    """Takes rows at equal distances, so that every part of the table has its turn."""
    if not count or count >= len(rows):
        return rows
    return [rows[i * len(rows) // count] for i in range(count)]


def work(rows, copy, names, results):
    while True:
        try:
            row = rows.get_nowait()
        except queue.Empty:
            return
        start = time.monotonic()
        verdict, detail = judge(row, copy, names[folder_of(row)])
        results.append(verdict)
        print(f"{verdict:<9} {row.file}: {row.why}\n          {detail} ({time.monotonic() - start:.0f} s)",
              flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()

    chosen = [row for row in MUTATIONS if options.only in row.file or options.only in row.why]
    chosen = sample(chosen, options.sample)
    if options.check:
        return check(chosen)
    start = time.monotonic()
    names = programs({folder_of(row) for row in chosen})
    everything = [name for judges in names.values() for name in judges]
    first = Copy.make(WORK / "0")
    built = first.build(everything, options.jobs)
    if built is not True:
        sys.exit(f"mutate: the tree itself does not build\n{built}")
    for name in everything:
        complaint = first.run(name)
        if complaint:
            sys.exit(f"mutate: without a fault, {name} fails: {complaint}")

    rows, results = queue.SimpleQueue(), []
    for row in chosen:
        rows.put(row)
    copies = [first] + [first.clone(WORK / str(i)) for i in range(1, options.jobs)]
    threads = [threading.Thread(target=work, args=(rows, copy, names, results)) for copy in copies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    count = {verdict: results.count(verdict) for verdict in ("caught", "explained", "survived", "broken")}
    print(f"mutate: {len(results)} faults: " + ", ".join(f"{n} {verdict}" for verdict, n in count.items())
          + f", {time.monotonic() - start:.0f} s")
    return 1 if count["survived"] or count["broken"] or not results else 0


if __name__ == "__main__":
    sys.exit(main())
