#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Has Spin search every state of the models in tests/model/.

usage: check-models.py [--counts FILE] [MODEL...]

The first comment of a model NAME.pml lists its variations:

  variant NAME: what is different          must hold, like the model itself
  mistake NAME: what is done wrong         must be found wrong

Each NAME is a macro that the model tests. Where no error is expected, the search must
come to its end. Without a variation it must also reach every line of the model: a line
that is never reached is not proven. --counts FILE writes
{"passed": N, "failed": N, "skipped": 0} to FILE.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "tests/model"
BUILD = ROOT / "build/models"

TIME_LIMIT_S = 600
DEPTH = 1_000_000
MEMORY_MIB = 3000

LISTED = re.compile(r"^ \* (variant|mistake) ([A-Z_]+): ", re.M)
TESTED = re.compile(r"^#\s*(?:ifdef|ifndef|if|elif)\b(.*)$", re.M)
DEFINED = re.compile(r"^#\s*define\s+([A-Z_]+)", re.M)
UNREACHED = re.compile(r"^\t\S*?([a-z_]+\.pml:\d+), state \d+, (?!\"-end-\")(.*)$", re.M)


class Failure(Exception):
    """Says what is wrong with a model."""


def listed(path):
    """[(kind, macro)] of a model; the first is the model itself, ("model", None)."""
    text = path.read_text()
    cases = LISTED.findall(text)
    names = {name for _, name in cases}
    tested = set(re.findall(r"[A-Z_]{2,}", " ".join(TESTED.findall(text))))
    if names != tested:
        raise Failure(f"macros that are only listed or only tested: {sorted(names ^ tested)}")
    return [("model", None), *cases]


def command(words, folder, limit=TIME_LIMIT_S):
    try:
        result = subprocess.run(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"no end in {limit} s") from error
    output = result.stdout.decode(errors="replace")
    if result.returncode:
        raise Failure(output)
    return output


def search(path, macro):
    """Returns what Spin's verifier prints."""
    folder = BUILD / (path.stem + (f".{macro}" if macro else ""))
    folder.mkdir(parents=True, exist_ok=True)
    command(["spin", "-a", *([f"-D{macro}"] if macro else []), str(path)], folder)
    command(["gcc", "-O1", "-DSAFETY", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MIB}", "-o", "pan", "pan.c"],
            folder)
    return command(["./pan", f"-m{DEPTH}"], folder)


def judge(kind, output):
    """Says in a few words what was found; raises Failure if it is not what `kind` wants."""
    errors = re.search(r"errors: (\d+)", output)
    what = re.search(r"^pan:1: (.*?) \(at depth", output, re.M)
    if not errors:
        raise Failure(output)
    if kind == "mistake":
        if not what:
            raise Failure("the mistake is not found")
        return f"found: {what[1]}"
    if what or int(errors[1]):
        raise Failure(output)
    if "not completed" in output or "too small" in output:
        raise Failure("the search did not come to its end\n" + output)
    unreached = UNREACHED.findall(output)
    if kind == "model" and unreached:
        raise Failure("never reached:\n" + "\n".join(f"{where}: {line}" for where, line in unreached))
    states = re.search(r"(\d+) states, stored", output)
    return f"holds in {int(states[1]):,} states"


def check(case):
    path, kind, macro = case
    start = time.monotonic()
    try:
        verdict, is_good = judge(kind, search(path, macro)), True
    except Failure as failure:
        verdict, is_good = f"FAILED: {failure}", False
    name = path.stem + (f" {macro}" if macro else "")
    print(f"  {name:<36} {verdict}, {time.monotonic() - start:.0f} s", flush=True)
    return is_good


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--counts", type=Path)
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()

    paths = [path for path in sorted(MODELS.glob("*.pml"))
             if not options.models or path.stem in options.models]
    passed = failed = 0
    cases = []
    for path in paths:
        try:
            cases += [(path, kind, macro) for kind, macro in listed(path)]
        except Failure as failure:
            print(f"  {path.stem}: {failure}")
            failed += 1
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(check, cases))
    passed += results.count(True)
    failed += results.count(False)
    print(f"models: {passed} passed, {failed} failed")
    if options.counts:
        options.counts.write_text(json.dumps({"passed": passed, "failed": failed, "skipped": 0}))
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
