# SPDX-License-Identifier: MIT
"""Reads scripts/layers.conf: the modules, where they are, and what they may include."""

import os
from pathlib import Path

CONF = "scripts/layers.conf"
SOURCES = (".c", ".h", ".S")

TESTS = "tests"
NO_OBJECTS = "-"  # in the column `cycle`
FREE_CYCLE = 4  # a larger number needs a reason


class Row:
    """One module."""

    def __init__(self, line):
        text, _, self.reason = (part.strip() for part in line.partition("#"))
        words = text.split()
        if len(words) < 4 or not (words[2] == NO_OBJECTS or words[2].isdigit()):
            raise ValueError(f"{CONF}: '{text}': a row is module, folder, cycle, modules or -")
        self.module, self.where, self._cycle, *allowed = words
        self.may_include = set() if allowed == ["-"] else set(allowed)

    def has_objects(self):
        return self._cycle != NO_OBJECTS

    def cycle(self):
        """The number of objects that may need each other."""
        return int(self._cycle)


class Layers:
    """The table, in its order."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if line.partition("#")[0].strip()]
        self.rows = [Row(line) for line in lines]
        self.may_include = {row.module: row.may_include for row in self.rows}
        self.module_of = {row.where: row.module for row in self.rows}  # folder or file -> module

    def find(self, path):
        """The module of a file, the longest path winning; None if it is in none."""
        matches = [where for where in self.module_of
                   if path == where or path.startswith(where + "/")]
        return self.module_of[max(matches, key=len)] if matches else None

    def allows(self, module, included):
        return included in (module, "quire") or included in self.may_include[module]

    def files(self, root):
        """The source files of all modules, as paths from `root`, sorted within each folder."""
        root = Path(root)
        for where in sorted(self.module_of):
            if (root / where).is_file():
                yield where
            for folder, subfolders, names in os.walk(root / where):
                subfolders.sort()
                for name in sorted(names):
                    path = str(Path(folder, name).relative_to(root))
                    # A file of a row whose path lies deeper comes with that row.
                    if name.endswith(SOURCES) and self.find(path) == self.module_of[where]:
                        yield path

    def strays(self, root):
        """Source files beside the modules, in none of them."""
        for top in sorted({where.partition("/")[0] for where in self.module_of}):
            for path in sorted(Path(root, top).rglob("*")):
                name = str(path.relative_to(root))
                if name.endswith(SOURCES) and self.find(name) is None:
                    yield name

    def kernel_files(self, root):
        """Those of all modules but the tests, which are programs of their own."""
        return [path for path in self.files(root) if self.find(path) != TESTS]

    def problems(self):
        """Unknown names, modules that reach themselves, large cycles without a reason."""
        for module, allowed in self.may_include.items():
            for name in sorted(allowed - set(self.may_include)):
                yield f"{CONF}: {module} may include {name}, which is no module"
            if module in self._reachable(module):
                yield f"{CONF}: {module} reaches itself: a cycle"
        for row in self.rows:
            if row.has_objects() and row.cycle() > FREE_CYCLE and not row.reason:
                yield (f"{CONF}: {row.module} allows a cycle of {row.cycle()} objects: above "
                       f"{FREE_CYCLE} the row must end with '# ' and the reason")

    def _reachable(self, module):
        seen = set()
        waiting = list(self.may_include[module])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self.may_include.get(name, ())
        return seen


def load(root):
    return Layers((Path(root) / CONF).read_text())
