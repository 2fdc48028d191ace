#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prints assembly for the symbol table that backtraces use.

usage: make-symbols.py ELF | --none

    symbols_count      .quad  how many
    symbols_addresses  .quad  each, sorted: where the function starts
    symbols_offsets    .long  each: where its name starts in symbols_names
    symbols_names      the names, each ending with a zero byte

All of it goes into .rodata, which lies behind .text: so a table made from a
first link, in which it was empty (--none), is right for the second.
"""

import subprocess
import sys

HEADER = """\
/* SPDX-License-Identifier: MIT */
/* Made by scripts/make-symbols.py. */
	.section .rodata.symbols, "a", @progbits
	.globl symbols_count, symbols_addresses, symbols_offsets, symbols_names
	.balign 8
"""

FOOTER = '\t.section .note.GNU-stack, "", @progbits\n'


def functions(elf):
    """[(address, name)] sorted, one name for each address."""
    listing = subprocess.run(["nm", "--defined-only", elf], check=True, capture_output=True,
                             text=True).stdout
    found = {}
    for line in listing.splitlines():
        address, kind, name = line.split(maxsplit=2)
        # Of several names take the first that is no local label of the compiler.
        if kind in "tT" and not name.startswith("."):
            found.setdefault(int(address, 16), name)
    return sorted(found.items())


def assembly(table):
    lines = ["symbols_count:", f"\t.quad {len(table)}", "symbols_addresses:"]
    lines += [f"\t.quad {address:#x}" for address, _ in table]
    lines.append("symbols_offsets:")
    offset = 0
    for _, name in table:
        lines.append(f"\t.long {offset}")
        offset += len(name) + 1
    lines.append("symbols_names:")
    lines += [f'\t.asciz "{name}"' for _, name in table]
    return HEADER + "\n".join(lines) + "\n" + FOOTER


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = [] if sys.argv[1] == "--none" else functions(sys.argv[1])
    sys.stdout.write(assembly(table))


if __name__ == "__main__":
    main()
