# SPDX-License-Identifier: MIT
"""Does the work of scripts/test after the set-up.

Steps, in order: build; the checks of the tree; host tests; models; fuzzers;
coverage; the tests of mm/ in its other layouts; a few planted faults; system
tests (boots), with a table of them by machine. A command that does not count its
tests counts as one test. Every step runs even if an earlier one failed, but if the
build fails no step runs.
"""

import argparse
import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import layers
import makefile
import options as run_options
import paths
import runner

# Operations with a full check of all invariants. The seed never varies, so that a failure
# comes from the change.
FUZZ_OPERATIONS = 1_000_000
FUZZ_SEED = 1
# A fuzzer's operations are divided among runs; each has these words after operations and
# seed. The second run of mm_fuzz finds equal pages by a key of eight bits, so nearly all pages
# that it finds are not equal.
FUZZ_RUNS = {"mm": ([], ["1", "8"])}

REPORTS = paths.BUILD / "test"

STEPS = ("checks", "host", "models", "fuzz", "coverage", "layouts", "faults", "system")

# The builds that differ in the layout of mm/'s tables; the first is what `make` builds.
LAYOUTS = [(shift, bits) for shift in (21, 20) for bits in (32, 64)]
LAYOUT_OPERATIONS = 20_000

# How many of the faults of `make mutate` are planted.
FAULT_SAMPLE = 8


class Tester:
    def __init__(self, pytest_words):
        self.counts = Counter()
        self.machine_table = ()
        self._pytest_words = pytest_words

    def _single(self, name, command, figures=None):
        """Runs a command that is one test. Prints the lines of its output that start with `figures`."""
        start = time.monotonic()
        result = subprocess.run(command, cwd=paths.ROOT, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, check=False)
        verdict = "failed" if result.returncode else "passed"
        self.counts[verdict] += 1
        if result.returncode:
            sys.stdout.buffer.write(result.stdout)
        elif figures:
            lines = result.stdout.decode(errors="replace").splitlines()
            print("\n".join(line for line in lines if line.startswith(figures)))
        print(f"{name}: {verdict}, {time.monotonic() - start:.0f} s", flush=True)

    def checks(self):
        for gate in ("layers", "twins", "references"):
            script = f"scripts/check-{gate}.py"
            self._single(gate, [script])
            self._single(f"{gate} self-test", [script, "--self-test"])
        self._single("texts of planted faults", ["scripts/mutate.py", "--check"])
        self._single("headers", ["scripts/check-headers.sh"])
        self._single("format", ["make", "-s", "format"])

    def host(self):
        self._host_programs("build/host", makefile.variable("HOST_TESTS"))
        self._host_programs("build/threads", makefile.variable("THREAD_TESTS"))
        scale = "build/plain/host/scale_test"
        self._single("scale, build", ["make", "-s", "-j2", "SANITIZE=none", "BUILD=build/plain",
                                      scale])
        self._single("scale", [scale], figures="# ")

    def coverage(self):
        self._single("coverage", ["scripts/coverage"], figures="coverage")

    def models(self):
        self._counted("models", ["scripts/check-models.py"])

    def _host_programs(self, folder, names):
        self._counted(folder.replace("/", "-"), ["scripts/run-host-tests.py", folder, *names])

    def _counted(self, name, command):
        """Runs a command that writes its counts to a file."""
        counts = REPORTS / f"{name}.json"
        counts.unlink(missing_ok=True)
        subprocess.run([command[0], "--counts", str(counts), *command[1:]], cwd=paths.ROOT,
                       check=False)
        if counts.exists():
            self.counts.update(json.loads(counts.read_text()))
        else:
            self.counts["failed"] += 1

    def fuzz(self):
        for name in makefile.variable("FUZZ_TESTS"):
            runs = FUZZ_RUNS.get(name, ([],))
            for words in runs:
                command = [f"build/host/{name}_fuzz", str(FUZZ_OPERATIONS // len(runs)),
                           str(FUZZ_SEED), *words]
                print(" ".join(command), "...", flush=True)
                self._single(" ".join(["fuzz", name, *words]), command)

    def layouts(self):
        """Builds the kernel objects that may include GMM or PGM, and runs every test of mm/, in the
        layouts that `make` does not build."""
        modules = layers.load(paths.ROOT)
        objects = [f"kernel/{Path(path).with_suffix('.o')}" for path in modules.kernel_files(paths.ROOT)
                   if path.endswith(".c")
                   and any(modules.allows(modules.find(path), included) for included in ("gmm", "pgm"))]
        names = [name for name in makefile.variable("HOST_TESTS")
                 if name.startswith(("gmm", "pgm", "config"))]
        for shift, bits in LAYOUTS[1:]:
            build = f"build/layout-{shift}-{bits}"
            title = f"layout CHUNK_SHIFT={shift} WORD_BITS={bits}"
            fuzzers = [f"{build}/host/{name}_fuzz" for name in ("gmm", "mm")]
            programs = [f"{build}/host/{name}_test" for name in names] + fuzzers
            self._single(f"{title}, build", ["make", "-s", "-j2", f"BUILD={build}",
                                             f"CHUNK_SHIFT={shift}", f"WORD_BITS={bits}",
                                             *[f"{build}/{name}" for name in objects], *programs])
            self._host_programs(f"{build}/host", names)
            for fuzzer in fuzzers:
                self._single(f"{title}, {fuzzer.rpartition('/')[2]}",
                             [fuzzer, str(LAYOUT_OPERATIONS), str(FUZZ_SEED)])

    def faults(self):
        self._single("planted faults", ["scripts/mutate.py", "--sample", str(FAULT_SAMPLE)],
                     figures="mutate: ")

    def system(self):
        report = REPORTS / "system.xml"
        report.unlink(missing_ok=True)
        # Two at a time: an emulator with one CPU keeps one core busy. "loadgroup" hands out
        # tests one by one, the default in batches.
        subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup",
                        "-p", "no:cacheprovider", f"--junitxml={report}",
                        *(self._pytest_words or ["tests/system"])],
                       cwd=paths.ROOT, check=False)
        if not report.exists():
            self.counts["failed"] += 1
            return
        results = ElementTree.parse(report)
        for suite in results.iter("testsuite"):
            bad = int(suite.get("failures")) + int(suite.get("errors"))
            skipped = int(suite.get("skipped"))
            self.counts["failed"] += bad
            self.counts["skipped"] += skipped
            self.counts["passed"] += int(suite.get("tests")) - bad - skipped
        self.machine_table = machine_table(results)


# The table shows the worst verdict among a test's parameters; later is worse.
VERDICTS = ("passed", "skipped", "failed")


def verdict(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def machine_table(results):
    """Lines: a row for each system test, a column for each machine."""
    found = {}
    for case in results.iter("testcase"):
        machine = next((p.get("value") for p in case.iter("property") if p.get("name") == "machine"), "")
        test = f"{case.get('classname').rpartition('.')[2]}.{case.get('name').partition('[')[0]}"
        row = found.setdefault(test, {})
        row[machine] = max(row.get(machine, "passed"), verdict(case), key=VERDICTS.index)
    width = max(map(len, found), default=0)
    yield "  ".join(["".ljust(width), *run_options.MACHINES])
    for test, row in sorted(found.items()):
        cells = (row.get(machine, "-").ljust(len(machine)) for machine in run_options.MACHINES)
        yield "  ".join([test.ljust(width), *cells]).rstrip()


def summary(counts):
    text = f"{counts['passed']} passed, {counts['failed']} failed"
    return text + (f", {counts['skipped']} skipped" if counts["skipped"] else "")


def main():
    parser = argparse.ArgumentParser(prog="scripts/test", description="Runs every test.")
    parser.add_argument("--only", choices=STEPS, action="append", help="only this step; repeatable")
    parser.add_argument("pytest", nargs="*", metavar="TEST",
                        help="system tests to run, as pytest takes them (default: all)")
    options = parser.parse_args()

    REPORTS.mkdir(parents=True, exist_ok=True)
    tester = Tester(options.pytest)
    try:
        runner.build()
        runner.progress("building the host tests", ["make", "-j2", "host-build", "threads-build"])
    except runner.Failure as failure:
        runner.say(failure)
        print("0 passed, 1 failed")
        return 1
    for step in options.only or STEPS:
        print(f"== {step}", flush=True)
        getattr(tester, step)()
    for line in tester.machine_table:
        print(line)
    print(summary(tester.counts))
    return 1 if tester.counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
