#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the host test programs and counts.

usage: run-host-tests.py [--counts FILE] FOLDER NAME...

Runs FOLDER/NAME_test for each NAME, two at a time. Prints the output of programs that
failed, and one line of counts. A program that dies (a sanitizer's report, a signal)
counts as one failed test in addition to the tests that it had finished. --counts FILE
writes {"passed": N, "failed": N, "skipped": N} to FILE.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIME_LIMIT_S = 600

# cmocka prints TAP if CMOCKA_MESSAGE_OUTPUT asks for it.
RESULT = re.compile(r"^(ok|not ok) \d+ - (.*?)( # SKIP.*)?$", re.M)


def fixed_addresses():
    """Returns words to put before a command, so that its addresses are not random: gcc 12's
    ThreadSanitizer does not start if the kernel randomises more than 28 bits of a mapping's
    address. Returns none if a container forbids it."""
    words = ["setarch", "-R"]
    if not shutil.which(words[0]) or subprocess.run([*words, "true"], check=False).returncode:
        return []
    return words


def run(prefix, folder, name):
    """Returns (name, passed, failed, skipped, output)."""
    program = Path(folder) / f"{name}_test"
    try:
        result = subprocess.run([*prefix, program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={**os.environ, "CMOCKA_MESSAGE_OUTPUT": "TAP"},
                                timeout=TIME_LIMIT_S, check=False)
        output, code = result.stdout.decode(errors="replace"), result.returncode
    except subprocess.TimeoutExpired as error:
        output, code = (error.stdout or b"").decode(errors="replace"), f"no end in {TIME_LIMIT_S} s"
    except OSError as error:
        output, code = str(error), "not started"
    passed = failed = skipped = 0
    for verdict, _, skip in RESULT.findall(output):
        if skip:
            skipped += 1
        elif verdict == "ok":
            passed += 1
        else:
            failed += 1
    # cmocka's own status is 1 when a test failed; any other status is one more failure.
    if (code != 0 and failed == 0) or code not in (0, 1) or passed + failed + skipped == 0:
        failed += 1
        output += f"\n{name}_test ended with {code}\n"
    return name, passed, failed, skipped, output


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--counts", type=Path)
    parser.add_argument("folder")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()

    prefix = fixed_addresses()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda name: run(prefix, options.folder, name), options.names))
    for name, passed, failed, skipped, output in results:
        if failed:
            print(output)
        skips = f", {skipped} skipped" if skipped else ""
        print(f"  {name:<13} {passed} passed, {failed} failed{skips}")
    passed, failed, skipped = (sum(result[i] for result in results) for i in (1, 2, 3))
    print(f"host tests: {passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    if options.counts:
        options.counts.write_text(json.dumps({"passed": passed, "failed": failed, "skipped": skipped}))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
