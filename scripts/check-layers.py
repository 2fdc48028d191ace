#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that includes point down the layers of scripts/layers.conf.

usage: check-layers.py [--self-test]

Rejected: an include of a module that the table does not allow; a private header
(one included without its path, or *_internal.h) from outside its folder; a
hosted header in the kernel; a .c file whose own header is not its first
include; an include of a file that does not exist; a cycle in the table. Host
tests may include private headers and hosted ones. --self-test plants one of
each in a scratch tree and fails unless every one is caught.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What a freestanding compiler brings along; nothing else comes from outside.
FREESTANDING = {"stdint.h", "stddef.h", "stdbool.h", "stdarg.h", "stdnoreturn.h", "limits.h"}

# Header-only libraries of Debian's, each for the one file that wraps it; see docs/dependencies.md.
LIBRARIES = {"mm/share/share_key.c": {"xxhash.h"}}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


class Layers:
    """The table: module names, where they are, and what they may include."""

    def __init__(self, text):
        self.may_include = {}
        self.module_of = {}  # folder or file -> module
        for line in text.splitlines():
            words = line.partition("#")[0].split()
            if words:
                module, where, allowed = words[0], words[1], words[2:]
                self.module_of[where] = module
                self.may_include[module] = set() if allowed == ["-"] else set(allowed)

    def find(self, path):
        """The module of a file, the longest path winning; None if it is in none."""
        matches = [where for where in self.module_of
                   if path == where or path.startswith(where + "/")]
        return self.module_of[max(matches, key=len)] if matches else None

    def allows(self, module, included):
        return included in (module, "quire") or included in self.may_include[module]

    def problems(self):
        """Unknown names, and modules that reach themselves."""
        for module, allowed in self.may_include.items():
            for name in sorted(allowed - set(self.may_include)):
                yield f"layers.conf: {module} may include {name}, which is no module"
        for module in self.may_include:
            if module in self._reachable(module):
                yield f"layers.conf: {module} reaches itself: a cycle"

    def _reachable(self, module):
        seen = set()
        waiting = list(self.may_include[module])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self.may_include.get(name, ())
        return seen


class Checker:
    def __init__(self, root, layers):
        self._root = root
        self._layers = layers
        self.problems = list(layers.problems())
        self.file_count = 0

    def _report(self, path, line, text):
        self.problems.append(f"{path}:{line}: {text}")

    def check_tree(self):
        for where in sorted(set(self._layers.module_of)):
            base = self._root / where
            if base.is_file():
                self._check_file(where)
            for folder, subfolders, names in os.walk(base):
                subfolders.sort()
                for name in sorted(names):
                    path = str(Path(folder, name).relative_to(self._root))
                    # A path in the table that lies deeper is visited on its own.
                    if name.endswith((".c", ".h", ".S")) and self._owner(path) == where:
                        self._check_file(path)

    def _owner(self, path):
        return max((where for where in self._layers.module_of
                    if path == where or path.startswith(where + "/")), key=len)

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
        # <quire/lock.h> takes the half of it that each tree provides from a seam folder.
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
    ("missing header", "mm/gmm/gone.c", '#include "mm/gmm/gone_away.h"\n', "does not exist"),
    ("cycle", "scripts/layers.conf", None, "cycle"),
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


def planted_is_caught(table, planted):
    """Returns None, or what went wrong."""
    name, path, content, wanted = planted
    with tempfile.TemporaryDirectory() as scratch:
        files = dict(CLEAN)
        if content is None:
            table = table + "\nring  ring  lib\n"
            table = re.sub(r"^(lib\s+lib\s+)-", r"\1ring", table, flags=re.M)
        else:
            files[path] = content
        for file, text in files.items():
            target = Path(scratch, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        checker = Checker(Path(scratch), Layers(table))
        checker.check_tree()
        if name == "nothing":
            return None if not checker.problems else f"clean tree: {checker.problems}"
        if not any(wanted in problem for problem in checker.problems):
            return f"{name}: not caught ({checker.problems})"
    return None


def self_test(table):
    cases = (("nothing", "lib/clean.c", "", ""), *PLANTED)
    failures = [failure for case in cases if (failure := planted_is_caught(table, case))]
    for failure in failures:
        print(f"layers: self-test: {failure}", file=sys.stderr)
    print(f"layers: self-test: {len(PLANTED)} violations planted, {len(failures)} not caught")
    return 1 if failures else 0


def main():
    table = (ROOT / "scripts/layers.conf").read_text()
    if "--self-test" in sys.argv[1:]:
        return self_test(table)
    checker = Checker(ROOT, Layers(table))
    checker.check_tree()
    for problem in checker.problems:
        print(f"layers: {problem}", file=sys.stderr)
    print(f"layers: {checker.file_count} files checked, {len(checker.problems)} problems")
    return 1 if checker.problems else 0


if __name__ == "__main__":
    sys.exit(main())
