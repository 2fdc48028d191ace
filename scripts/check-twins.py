#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that svm/ and vmx/ are twins, and that no other folder knows what is in them.

usage: check-twins.py [--self-test]

Rejected: a file of one folder without a counterpart in the other, unless the list below
has it with a reason; an entry of that list that is no longer true; in code outside of
the two folders, the name of a VMCB or VMCS field, of a constant or structure of vmcb.h
or vmcs.h, or the word VMCB or VMCS itself. Comments may use these names. check-layers.py
checks that neither folder includes the other, and which modules may include them.
--self-test plants one of each in a scratch tree and fails unless every one is caught.
"""

import re
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "pylib"))
import comments  # noqa: E402
import layers  # noqa: E402
from paths import ROOT  # noqa: E402

SVM, VMX = "svm", "vmx"

# Twins whose names differ, because the manuals use different words.
RENAMED = {
    "svm/vmcb.h": "vmx/vmcs.h",
    "svm/svm_asid.c": "vmx/vmx_vpid.c",
}

# Files that the other vendor does not need, and why.
ALONE = {
    "vmx/vmx_insn.h": "a VMCS is reached by instructions, a VMCB is memory",
    "vmx/vmx_fields.c": "code that examines a VMCS needs a copy of it; a VMCB is read in place",
    "vmx/vmx_live.c": "AMD-V switches these registers with VMLOAD and VMSAVE",
    "vmx/vmx_cr.c": "VMX fixes bits of CR0 and CR4; on AMD-V guests write them alone",
    "vmx/vmx_check_guest.c": "the manual has as many rules for guest state as for everything else together",
}

LAYOUTS = ("svm/vmcb.h", "vmx/vmcs.h")
NAME = re.compile(r"[A-Za-z_]\w*")
DECLARED = re.compile(r"^#define (\w+)|^\t([A-Z][A-Z0-9_]*)(?: = [^\n]*)?,|^(?:struct|enum) (\w+)", re.M)
VENDOR_WORD = re.compile(r"vmc[bs]s?(?:_\w*)?", re.I)


def code_of(path):
    return comments.split(path.name, path.read_text(errors="replace"))[0]


def twin_of(name):
    """Returns the path of a file's twin."""
    if name in RENAMED:
        return RENAMED[name]
    if name in RENAMED.values():
        return next(key for key, value in RENAMED.items() if value == name)
    folder, file = name.split("/")
    other = VMX if folder == SVM else SVM
    return f"{other}/{re.sub(rf'^{folder}(?=[._])', other, file)}"


def file_problems(root):
    files = {f"{folder}/{path.name}" for folder in (SVM, VMX) for path in (root / folder).iterdir()}
    for name in sorted(files):
        if name not in ALONE and twin_of(name) not in files:
            yield f"{name}: has no twin {twin_of(name)}"
        if name in ALONE and twin_of(name) in files:
            yield f"{name}: has a twin {twin_of(name)}: take it out of the list"
    for name in sorted({*ALONE, *RENAMED, *RENAMED.values()} - files):
        yield f"{name}: does not exist: take it out of the list"


def layout_names(root):
    """The names that vmcb.h and vmcs.h declare."""
    names = set()
    for layout in LAYOUTS:
        for match in DECLARED.finditer(code_of(root / layout)):
            names.update(filter(None, match.groups()))
    return names


def name_problems(root):
    hidden = layout_names(root)
    modules = layers.load(ROOT)
    for path in modules.kernel_files(root):
        if modules.find(path) in (SVM, VMX):
            continue
        for number, line in enumerate(code_of(root / path).splitlines(), 1):
            for name in NAME.findall(line):
                if name in hidden or VENDOR_WORD.fullmatch(name):
                    yield f"{path}:{number}: '{name}' is private to {SVM}/ and {VMX}/"


def problems(root):
    return [*file_problems(root), *name_problems(root)]


CLEAN = {name: "" for pair in RENAMED.items() for name in pair} | {name: "" for name in ALONE} | {
    "svm/vmcb.h": "#define VMCB_TLB_KEEP 0u\nenum e {\n\tNPF_WRITE = 2,\n};\nstruct vmcb_save {\n};\n",
    "vmx/vmcs.h": "enum vmcs_field {\n\tVMCS_GUEST_RIP = 0x681e,\n};\n#define PRIMARY_HLT BIT32(7)\n",
    "svm/svm.c": "", "vmx/vmx.c": "", "svm/asm_offsets.c": "", "vmx/asm_offsets.c": "",
    "vm/clean.c": "/* No code here sees a VMCB\n * or VMCS_GUEST_RIP. */\nint x; // vmcs\n",
}

# name, path, content (None: the file goes), words that the report must have
PLANTED = (
    ("nothing", "vm/clean_too.c", "int y;\n", None),
    ("a file without a twin", "vmx/vmx_new.c", "", "has no twin svm/svm_new.c"),
    ("a twin that is gone", "svm/svm.c", None, "vmx/vmx.c: has no twin svm/svm.c"),
    ("a twin that came", "svm/svm_cr.c", "", "vmx/vmx_cr.c: has a twin svm/svm_cr.c"),
    ("an entry that is old", "vmx/vmx_live.c", None, "vmx/vmx_live.c: does not exist"),
    ("a field", "vm/a.c", "x = VMCS_GUEST_RIP;\n", "vm/a.c:1: 'VMCS_GUEST_RIP'"),
    ("a field of a version to come", "vm/b.c", "\nx = VMCS_NEW;\n", "vm/b.c:2: 'VMCS_NEW'"),
    ("a control", "mm/gmm/c.h", "#define X PRIMARY_HLT\n", "'PRIMARY_HLT'"),
    ("a bit of an exit", "devices/d.c", "x & NPF_WRITE;\n", "'NPF_WRITE'"),
    ("a structure", "kernel/e.c", "struct vmcb_save *x;\n", "'vmcb_save'"),
    ("a variable", "vm/f.S", "mov vmcb, %rax\n", "'vmcb'"),
)


def planted_is_caught(planted):
    """Returns None, or what went wrong."""
    name, path, content, wanted = planted
    with tempfile.TemporaryDirectory() as scratch:
        for file, text in {**CLEAN, path: content}.items():
            if text is not None:
                target = Path(scratch, file)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
        found = problems(Path(scratch))
    if wanted is None:
        return f"{name}: {found}" if found else None
    return None if any(wanted in problem for problem in found) else f"{name}: not caught ({found})"


def self_test():
    failures = [failure for planted in PLANTED if (failure := planted_is_caught(planted))]
    for failure in failures:
        print(f"twins: self-test: {failure}", file=sys.stderr)
    print(f"twins: self-test: {len(PLANTED) - 1} violations planted, {len(failures)} not caught")
    return 1 if failures else 0


def main():
    if "--self-test" in sys.argv[1:]:
        return self_test()
    found = problems(ROOT)
    for problem in found:
        print(f"twins: {problem}", file=sys.stderr)
    print(f"twins: {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
