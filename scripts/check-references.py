#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that what comments and documents name exists.

usage: check-references.py [--self-test]

Looks at the comments of every source file and at every page (*.md). These must exist:

  mm/gmm/gmm.h, gmm.[ch], mm/pgm/  a file or folder of the tree, by its path or the end of it
  gmm_init()                       a function or macro: somewhere in code its name precedes a '('
  gmm_vm_find                      a word that begins like a C file's name: it is somewhere in code
  `is_bound`                       on a page: it is somewhere in code
  decision 0001, 0001-layers       a page of docs/decisions, by the start of its name
  `lib.strings*`, `gmm.lock`       a host test, or anything whose part behind the dot is in code
  test_memory.py::NAME             a system test of that file; `test_memory.NAME` is the same
  out_length                       in a header: a word of its code

Text in double quotes is the title of a text outside of the tree. A name with *, NAME or NNNN
in it must match at least one that exists. --self-test plants one dead reference of each kind
in a scratch tree and fails unless every one is caught.
"""

import argparse
import fnmatch
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "pylib"))
import comments  # noqa: E402
from paths import ROOT  # noqa: E402

# What is named although the tree does not have it, and why.
ALLOWED = {
    "quire.conf": "the operator writes it; Quire gets it as a boot module",
    "one.conf": "the reader of docs/benchmarks.md writes it",
    "module_object_verb": "a pattern for names",
    "out_x": "a pattern for names",
    "boot_flag": "a field of Linux's boot header",
    "cmdline_size": "a field of Linux's boot header",
    "heap_end_ptr": "a field of Linux's boot header",
    "init_on_alloc": "a word on Linux's command line",
    "slab_nomerge": "a word on Linux's command line",
}

NO_TEXT = ("LICENSE",)
SUFFIXES = r"(?:c|h|S|py|sh|md|pml|conf|mk|ld)"
DECISIONS = "docs/decisions/"
MADE = "build/"

TITLE = re.compile(r'"(?:[^"\n]|\n(?![ \t*#]*\n)){1,200}"')
PATH = re.compile(r"(?<![\w./:-])[\w*][\w.*/-]*(?:\[ch\])?")
FILE_NAME = re.compile(rf".*\.(?:{SUFFIXES}|\[ch\])")
PLACEHOLDER = re.compile(r"NAME|NNNN")
FUNCTION = re.compile(r"(?<![\w*.>-])([a-z][a-z0-9_]*)\(\)")
WORD = re.compile(r"(?<![\w*.>/:-])([a-z][a-z0-9]*(?:_[a-z0-9]+)+)(?![\w*(/.])")
QUOTED_WORD = re.compile(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`")
# No date and no part of a larger number.
DECISION = re.compile(r"\b(00\d\d)\b(?!-\d)(-[\w-]+)?")
OUT_PARAMETER = re.compile(r"\bout_\w+")
MEMBER = re.compile(r"`(\w*)\.([\w*]+)`")
SYSTEM_TEST = re.compile(r"(\w+)\.py::(\w+)")
HOST_TEST = re.compile(r"\bTEST\w*\((\w+),\s*(\w+)\)")
DEFINED_TEST = re.compile(r"^def (test_\w+)", re.M)


class Index:
    """What there is."""

    def __init__(self, files):
        folders = {f"{parent}" for name in files for parent in Path(name).parents} - {"."}
        self.top_folders = {folder for folder in folders if "/" not in folder}
        self.stems = {Path(name).stem for name in files}
        # Every path, and every end of a path.
        self.paths = {"/".join(parts[i:]) for parts in (path.split("/") for path in {*files, *folders})
                      for i in range(len(parts))}
        code = "\n".join(code for code, _ in files.values())
        self.words = set(re.findall(r"[A-Za-z_]\w*", code)) | self.stems
        self.functions = set(re.findall(r"([A-Za-z_]\w*)\)?\(", code))
        self.prefixes = {Path(name).stem.partition("_")[0] for name in files if name.endswith((".c", ".h"))}
        self.decisions = [name.removeprefix(DECISIONS) for name in files if name.startswith(DECISIONS)]
        self.host_tests = set(HOST_TEST.findall(code))
        self.system_tests = {Path(name).stem: DEFINED_TEST.findall(code)
                             for name, (code, _) in files.items() if Path(name).stem.startswith("test_")}

    def has_path(self, path):
        if path.endswith(".[ch]"):
            return self.has_path(path[:-4] + "c") and self.has_path(path[:-4] + "h")
        pattern = PLACEHOLDER.sub("*", path)
        return bool(fnmatch.filter(self.paths, pattern)) if "*" in pattern else path in self.paths

    def has_decision(self, start):
        return any(re.match(rf"{start}\b", name) for name in self.decisions)

    def has_member(self, owner, member):
        """A host test, a system test, or anything with a member of that name."""
        if PLACEHOLDER.search(owner + member):
            return True
        if owner in self.system_tests:
            return member in self.system_tests[owner]
        if "*" in member:
            return any(owner == module and fnmatch.fnmatch(sentence, member)
                       for module, sentence in self.host_tests)
        if (owner, member) in self.host_tests:
            return True
        is_a_sentence = any(member == sentence for _, sentence in self.host_tests)
        return member in self.words and not (owner and is_a_sentence)


def references(index, line):
    """(name, what it is taken for, does it exist) of everything that a line names."""
    for match in PATH.finditer(line):
        path = match[0].rstrip("./-")
        if path.startswith(MADE):
            continue
        top, slash, _ = match[0].partition("/")
        if FILE_NAME.fullmatch(path) or (slash and top in index.top_folders):
            yield path, "file", index.has_path(path)
    for name in FUNCTION.findall(line):
        yield name, "function", name in index.functions
    for name in WORD.findall(line):
        if name.partition("_")[0] in index.prefixes:
            yield name, "word", name in index.words
    for number, rest in DECISION.findall(line):
        yield number + rest, "decision", index.has_decision(number + rest)
    for owner, member in MEMBER.findall(line):
        if not re.fullmatch(SUFFIXES, member):
            yield f"{owner}.{member}", "test or member", index.has_member(owner, member)
    for file, test in SYSTEM_TEST.findall(line):
        is_there = file in index.system_tests and (test == "NAME" or test in index.system_tests[file])
        yield f"{file}.py::{test}", "test", is_there


def file_references(index, name, code, line):
    """The same of what only some kinds of files are asked for."""
    if name.endswith(".md"):
        for word in QUOTED_WORD.findall(line):
            yield word, "word", word in index.words
    if name.endswith(".h"):
        for parameter in OUT_PARAMETER.findall(line):
            yield parameter, "parameter", bool(re.search(rf"\b{parameter}\b", code))


def problems(files, allowed):
    """`files`: {name: (code, comments)}"""
    index = Index(files)
    used = set()
    for name, (code, comment) in files.items():
        text = TITLE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), comment)
        found = {}
        for number, line in enumerate(text.splitlines(), 1):
            for what, kind, exists in (*references(index, line), *file_references(index, name, code, line)):
                used.add(what)
                if not exists and what not in allowed:
                    found.setdefault((number, what), kind)
        for (number, what), kind in found.items():
            yield f"{name}:{number}: there is no {kind} '{what}'"
    for what in sorted(set(allowed) - used):
        yield f"'{what}' is named no more: take it out of ALLOWED"


def tree_read(root, names):
    return {name: comments.split(name, (root / name).read_text(errors="replace"))
            for name in names if name not in NO_TEXT}


# A tree without a dead reference.
CLEAN = {
    "include/quire/bits.h": "/* The header <quire/bits.h>; see quire/bits.h. */\n",
    "mm/gmm/gmm.h": "/* Sets *out_page. */\nvoid gmm_get(int *out_page);\n",
    "mm/gmm/gmm.c": '/* gmm.[ch], mm/gmm/ and gmm_get() of decision 0001; gmm_get\'s page. */\n'
                    'const char *text = "there is no gone.c /* here";\nvoid (*hook)(void);\n',
    "tests/host/gmm_test.c": "// Calls hook(). Made: build/gone.h. Not ours: \"Documentation/gone.rst,\n"
                             "// also gone.c\"\nTEST(gmm_set, fills)\n{\n}\n",
    "tests/system/test_boot.py": "def test_it_boots():\n    pass\n",
    "docs/decisions/0001-one.md": "0001-one, of 2001-01-01\n",
    "docs/page.md": "`gmm_set.fills`, `gmm_set.*`, `.fills`, `test_boot`, tests/host/NAME_test.c,\n"
                    "`test_boot.test_it_boots`, tests/system/test_boot.py::test_it_boots, `gmm_get`\n",
}

# what is planted, file, text, words that the report must have (None: no report)
PLANTED = (
    ("nothing", "lib/clean.c", "", None),
    ("a file", "lib/a.c", "/* As in\n * lib/gone.c. */\n", "lib/a.c:2: there is no file 'lib/gone.c'"),
    ("a file without its folder", "lib/a.c", "int x; // see gone.h\n", "file 'gone.h'"),
    ("a header and its source", "lib/a.c", "/* mm/gmm/gone.[ch] */\n", "file 'mm/gmm/gone.[ch]'"),
    ("a folder", "lib/a.S", "/* all of mm/gone/ */\n", "file 'mm/gone'"),
    ("a pattern", "docs/a.md", "in mm/gone/NAME.c\n", "file 'mm/gone/NAME.c'"),
    ("a model's file", "tests/model/a.pml", "/* of gone.c */\n", "file 'gone.c'"),
    ("in a docstring", "scripts/a.py", 'x = "gone.c"\ndef f():\n    """See gone.h."""\n', "a.py:3: there is no file"),
    ("in a Python comment", "scripts/a", "#!/usr/bin/python3\nx = 1  # gone.h\n", "a:2: there is no file"),
    ("in a shell comment", "scripts/a.sh", "#!/bin/sh\necho gone.c  # gone.h\n", "file 'gone.h'"),
    ("in a Makefile", "Makefile", "# gone.mk\nx := gone.c\n", "file 'gone.mk'"),
    ("a function", "lib/a.c", "/* gone() does it */\n", "function 'gone'"),
    ("a function in code only", "lib/a.c", "/* text() does it */\n", "function 'text'"),
    ("a word of a module", "lib/a.c", "/* after gmm_gone has run */\n", "word 'gmm_gone'"),
    ("a word of a page", "docs/a.md", "the field `is_gone`\n", "word 'is_gone'"),
    ("a decision", "lib/a.c", "/* decision 0002 */\n", "decision '0002'"),
    ("a decision under another title", "docs/a.md", "[0001-two](decisions)\n", "decision '0001-two'"),
    ("a host test", "docs/a.md", "`gmm_set.empties`\n", "test or member 'gmm_set.empties'"),
    ("a host test of another module", "docs/a.md", "`gmm_all.fills`\n", "test or member 'gmm_all.fills'"),
    ("host tests", "docs/a.md", "`gmm_all.*`\n", "test or member 'gmm_all.*'"),
    ("a system test", "docs/a.md", "`test_boot.test_gone`\n", "test or member 'test_boot.test_gone'"),
    ("a system test by path", "docs/a.md", "tests/system/test_boot.py::gone\n", "test 'test_boot.py::gone'"),
    ("a parameter", "mm/gmm/gmm_b.h", "/* Sets *out_gone. */\n", "parameter 'out_gone'"),
)


def planted_is_caught(planted):
    """Returns None, or what went wrong."""
    what, path, text, wanted = planted
    with tempfile.TemporaryDirectory() as scratch:
        files = {**CLEAN, path: text}
        for name, content in files.items():
            target = Path(scratch, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        found = list(problems(tree_read(Path(scratch), files), {}))
    if wanted is None:
        return f"{what}: {found}" if found else None
    # One report: nothing else in the tree is taken for a dead reference.
    return None if len(found) == 1 and wanted in found[0] else f"{what}: not caught ({found})"


def self_test():
    failures = [failure for planted in PLANTED if (failure := planted_is_caught(planted))]
    if not list(problems({}, {"gone.c": "no reason"})):
        failures.append("an entry of ALLOWED that is not needed: not caught")
    for failure in failures:
        print(f"references: self-test: {failure}", file=sys.stderr)
    print(f"references: self-test: {len(PLANTED)} dead references planted, {len(failures)} not caught")
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true")
    if parser.parse_args().self_test:
        return self_test()
    listing = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True,
                             capture_output=True, text=True).stdout
    names = sorted(name for name in listing.splitlines() if (ROOT / name).is_file())
    found = list(problems(tree_read(ROOT, names), ALLOWED))
    for problem in found:
        print(f"references: {problem}", file=sys.stderr)
    print(f"references: {len(names)} files checked, {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
