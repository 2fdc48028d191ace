#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks the layers of scripts/layers.conf: includes point down, and cycles stay small.

usage: check-layers.py [--build FOLDER] [--no-cycles] [--cycles] [--self-test]

Rejected in the sources: an include of a module that the table does not allow; a
private header (one included without its path, or *_internal.h) from outside its
folder; a hosted header in the kernel; a .c file whose own header is not its first
include; an include of a file that does not exist; a file beside the modules; a cycle
in the table. Host tests may include private headers and hosted ones.

Rejected in the objects under FOLDER/kernel (default: build/kernel), which must be
built: more objects of a module that need each other than its row allows; a number
that is larger than needed; a number above 4 without a reason. The numbers hold for
builds without DEBUG; --no-cycles skips this half.

--cycles prints each module's largest cycle. --self-test plants one violation of each
kind in a scratch tree and fails unless every one is caught.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "pylib"))
import cycles  # noqa: E402
from layers import CONF, Layers, load  # noqa: E402
from paths import BUILD, ROOT  # noqa: E402

# Headers that a freestanding compiler provides; no others come from outside the tree.
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdarg.h", "stdnoreturn.h", "limits.h"}

# Header-only libraries of Debian, each for the one file that wraps it; see docs/dependencies.md.
LIBRARIES = {"mm/share/share_key.c": {"xxhash.h"}}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


class Checker:
    def __init__(self, root, layers):
        self._root = root
        self._layers = layers
        self.problems = list(layers.problems())
        self.file_count = 0

    def _report(self, path, line, text):
        self.problems.append(f"{path}:{line}: {text}")

    def check_tree(self):
        for path in self._layers.files(self._root):
            self._check_file(path)
        for path in self._layers.strays(self._root):
            self._report(path, 1, f"is in no module of {CONF}")

    def _check_file(self, path):
        self.file_count += 1
        module = self._layers.find(path)
        text = (self._root / path).read_text(errors="replace")
        includes = [(number, match[1], match[2])
                    for number, line in enumerate(text.splitlines(), 1)
                    if (match := INCLUDE.match(line))]
        for number, bracket, target in includes:
            if bracket == "<":
                self._check_bracketed(path, number, module, target)
            else:
                self._check_quoted(path, number, module, target)
        self._check_own_header_first(path, includes)

    def _check_bracketed(self, path, number, module, target):
        if target.startswith("quire/"):
            if not (self._root / "include" / target).is_file():
                self._report(path, number, f"<{target}> does not exist")
            return
        # <quire/lock.h> takes one half of itself from the seam folder of the kernel or of the tests.
        if target.startswith("seam/"):
            if module not in ("quire", "arch", "tests"):
                self._report(path, number, f"<{target}> is for include/quire only")
            return
        if target in LIBRARIES.get(path, ()):
            return
        if module != "tests" and target not in FREESTANDING:
            self._report(path, number, f"<{target}> is a hosted header")

    def _check_quoted(self, path, number, module, target):
        if "/" not in target:
            self._check_private(path, number, module, target)
            return
        if module == "tests" and (self._root / "tests/host" / target).is_file():
            return
        included = self._layers.find(target)
        if included is None or not (self._root / target).is_file():
            self._report(path, number, f'"{target}" does not exist in any module')
        elif not self._layers.allows(module, included):
            self._report(path, number, f"{module} may not include {included} (\"{target}\")")
        elif self._is_foreign_private(path, module, target):
            self._report(path, number, f'"{target}" is private to its folder')

    def _is_foreign_private(self, path, module, target):
        is_private = target.endswith("_internal.h")
        return is_private and module != "tests" and Path(target).parent != Path(path).parent

    def _check_private(self, path, number, module, target):
        if (self._root / path).with_name(target).is_file():
            return
        # Made by the build from the folder's own asm_offsets.c.
        if target == "asm_offsets.h" and (self._root / path).with_name("asm_offsets.c").is_file():
            return
        if module == "tests" and (self._root / "tests/host" / target).is_file():
            return
        self._report(path, number, f'"{target}" is not in this folder: a private header of another?')

    def _check_own_header_first(self, path, includes):
        own = Path(path).with_suffix(".h")
        if not path.endswith(".c") or not (self._root / own).is_file() or path.startswith("tests/"):
            return
        if not includes or includes[0][2] not in (str(own), own.name):
            self._report(path, includes[0][0] if includes else 1,
                         f'"{own}" has to be the first include')


# name, file, content, words that the report must have
PLANTED = (
    ("upward include", "mm/gmm/up.c", '#include "mm/pgm/pgm.h"\n', "may not include"),
    ("sideways include", "svm/side.c", '#include "vmx/vmx.h"\n', "may not include"),
    ("private header by path", "mm/pgm/private.c", '#include "mm/gmm/gmm_internal.h"\n',
     "private to its folder"),
    ("private header by name", "mm/pgm/name.c", '#include "gmm_internal.h"\n', "private header of another"),
    ("hosted header", "lib/hosted.c", "#include <stdio.h>\n", "hosted header"),
    ("own header late", "mm/gmm/gmm.c", '#include <stdint.h>\n#include "mm/gmm/gmm.h"\n',
     "first include"),
    ("file of no module", "mm/stray.h", "", "in no module"),
    ("missing header", "mm/gmm/gone.c", '#include "mm/gmm/gone_away.h"\n', "does not exist"),
    ("cycle", CONF, None, "reaches itself"),
)

CLEAN = {
    "include/quire/bits.h": "#include <stdint.h>\n",
    "lib/string.h": "#include <stddef.h>\n",
    "mm/gmm/gmm.h": "#include <quire/bits.h>\n",
    "mm/gmm/gmm_internal.h": "",
    "mm/gmm/gmm_set.c": '#include "gmm_internal.h"\n#include "lib/string.h"\n',
    "mm/pgm/pgm.h": '#include "mm/gmm/gmm.h"\n',
    "vmx/vmx.h": "",
    "tests/host/gmm_test.c": '#include <stdio.h>\n#include "mm/gmm/gmm_internal.h"\n',
}


def files_write(folder, files):
    for name, text in files.items():
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def planted_is_caught(table, planted):
    """Returns None, or what went wrong."""
    name, path, content, wanted = planted
    files = dict(CLEAN)
    if content is None:
        table = table + "\nring  ring  -  lib\n"
        table = re.sub(r"^(lib\s+lib\s+\d+\s+)-", r"\1ring", table, flags=re.M)
    else:
        files[path] = content
    with tempfile.TemporaryDirectory() as scratch:
        files_write(scratch, files)
        checker = Checker(Path(scratch), Layers(table))
        checker.check_tree()
    return verdict(name, checker.problems, wanted)


# A layer whose first object needs its second one; the reverse makes a cycle, as does assembly.
OBJECTS = {
    "low/a.c": "int b(void);\nint a(void);\nint a(void) { return b(); }\n",
    "low/b.c": "int b(void);\nint b(void) { return 1; }\n",
}
B_NEEDS_A = {"low/b.c": "int a(void);\nint b(void);\nint b(void) { return a(); }\n"}
ASSEMBLY = {"low/b.c": "int c(void);\nint b(void);\nint b(void) { return c(); }\n",
            "low/c.S": "\t.globl c\nc:\tjmp a\n\t.section .note.GNU-stack, \"\", @progbits\n"}
SIX = {f"low/{name}.c": f"int {need}(void);\nint {name}(void);\nint {name}(void) {{ return {need}(); }}\n"
       for name, need in zip("abcdef", "bcdefa")}
LATE = "low/late.c"  # written after everything has been compiled

# name, rows of the table, files (None: touched after it was compiled), words that the report must have
PLANTED_CYCLES = (
    ("no cycle", "low low 1 -", {}, ""),
    ("cycle that is allowed", "low low 2 -", B_NEEDS_A, ""),
    ("large cycle with a reason", "low low 6 - # a ring", SIX, ""),
    ("cycle", "low low 1 -", B_NEEDS_A, "low: 2 objects need each other"),
    ("cycle through assembly", "low low 2 -", ASSEMBLY, "low: 3 objects need each other"),
    ("number larger than needed", "low low 2 -", {}, "can go down to 1"),
    ("number without a reason", "low low 6 -", SIX, "the reason"),
    ("objects that the row denies", "low low - -", {}, "low has objects"),
    ("row without objects", "low low 1 -\nnone none 1 -", {}, "none has no objects"),
    ("missing object", "low low 1 -", {LATE: ""}, "does not exist: run `make`"),
    ("old object", "low low 1 -", {"low/a.c": None}, "older than low/a.c"),
)


def objects_make(folder, files):
    for name in files:
        item = Path(folder, "build/kernel", name).with_suffix(".o")
        item.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-c", "-o", item, Path(folder, name)], check=True)


def planted_cycle_is_caught(planted):
    """Returns None, or what went wrong."""
    name, rows, files, wanted = planted
    compiled = OBJECTS | {path: text for path, text in files.items() if text and path != LATE}
    layers = Layers(rows)
    with tempfile.TemporaryDirectory() as scratch:
        files_write(scratch, compiled)
        objects_make(scratch, compiled)
        if LATE in files:
            files_write(scratch, {LATE: ""})
        for path in (path for path, text in files.items() if text is None):
            os.utime(Path(scratch, path), (2 ** 32, 2 ** 32))
        found = [*layers.problems(), *cycle_problems(scratch, layers, Path(scratch, "build"))]
    return verdict(name, found, wanted)


def verdict(name, found, wanted):
    """None if `wanted` is in one of the problems found, or if nothing is wanted and found."""
    if not wanted:
        return f"{name}: {found}" if found else None
    return None if any(wanted in problem for problem in found) else f"{name}: not caught ({found})"


def self_test(table):
    failures = [planted_is_caught(table, case) for case in (("nothing", "lib/clean.c", "", ""), *PLANTED)]
    failures += map(planted_cycle_is_caught, PLANTED_CYCLES)
    failures = list(filter(None, failures))
    for failure in failures:
        print(f"layers: self-test: {failure}", file=sys.stderr)
    print(f"layers: self-test: {len(PLANTED) + len(PLANTED_CYCLES)} cases planted, "
          f"{len(failures)} judged wrongly")
    return 1 if failures else 0


def cycle_problems(root, layers, build):
    try:
        return list(cycles.problems(layers, cycles.measure(root, layers, build)))
    except cycles.NotBuilt as error:
        return [str(error)]


def cycles_print(layers, build):
    try:
        print("\n".join(cycles.table(layers, cycles.measure(ROOT, layers, build))))
    except cycles.NotBuilt as error:
        sys.exit(f"layers: {error}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=BUILD, metavar="FOLDER")
    parser.add_argument("--no-cycles", action="store_true")
    parser.add_argument("--cycles", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()

    layers = load(ROOT)
    if options.self_test:
        return self_test((ROOT / CONF).read_text())
    if options.cycles:
        return cycles_print(layers, options.build)
    checker = Checker(ROOT, layers)
    checker.check_tree()
    found = checker.problems + ([] if options.no_cycles else cycle_problems(ROOT, layers, options.build))
    for problem in found:
        print(f"layers: {problem}", file=sys.stderr)
    print(f"layers: {checker.file_count} files checked, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
