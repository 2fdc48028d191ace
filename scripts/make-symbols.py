#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prints the symbol table that backtraces use, as assembly.

usage: make-symbols.py ELF | --none

    symbols_count         .long  the number of functions
    symbols_starts        .long  for each: its start, counted from layout_text_start; sorted
    symbols_name_offsets  .word  for each: the start of its name in symbols_names
    symbols_names         the names, each ending with a zero byte

The table lies in .rodata, behind .text, so its size does not move any function. A table
made from a first link with an empty one (--none) is therefore right for the second link.
"""

import subprocess
import sys

HEADER = """\
/* SPDX-License-Identifier: MIT */
/* Made by scripts/make-symbols.py. */
	.section .rodata.symbols, "a", @progbits
	.globl symbols_count, symbols_starts, symbols_name_offsets, symbols_names
	.balign 4
"""

FOOTER = '\t.section .note.GNU-stack, "", @progbits\n'


def functions(elf):
    """[(start, name)] sorted, one name for each; without the boot code, which lies before .text."""
    listing = subprocess.run(["nm", "--defined-only", elf], check=True, capture_output=True,
                             text=True).stdout
    symbols = [line.split(maxsplit=2) for line in listing.splitlines()]
    text_start = next(int(address, 16) for address, _, name in symbols if name == "layout_text_start")
    found = {}
    for address, kind, name in symbols:
        start = int(address, 16) - text_start
        # Of several names the first that is no local label of the compiler is taken.
        if kind in "tT" and not name.startswith((".", "layout_")) and start >= 0:
            found.setdefault(start, name)
    return sorted(found.items())


def assembly(table):
    lines = ["symbols_count:", f"\t.long {len(table)}", "symbols_starts:"]
    lines += [f"\t.long {start:#x}" for start, _ in table]
    lines.append("symbols_name_offsets:")
    offset = 0
    for _, name in table:
        lines.append(f"\t.word {offset}")
        offset += len(name) + 1
    if offset > 1 << 16:
        sys.exit("make-symbols.py: the names need wider offsets than .word")
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
