# SPDX-License-Identifier: MIT
"""Parses the options of scripts/run; --help prints the table of them."""

import argparse
import codecs
import sys
from pathlib import Path

DEFAULT_TIMEOUT_S = 600.0

# The first one is the default.
MACHINES = ("qemu-svm", "bochs-vmx", "bochs-svm")

ABOUT = """\
Builds Quire, makes its boot files and starts it on an emulated machine. Without
options: two guests with Debian's stock kernel, one of them attached to this
terminal. Ctrl-] leaves a guest for Quire's prompt, 'poweroff' there ends
everything; Ctrl-\\ three times in a row kills the emulated machine."""

STATUS = """\
exit status: Quire's own: 0 every VM stopped by itself, 1 some VM failed,
2 Quire refused to start, 3 panic. Else 4: the machine ended without a status
(triple fault, crash), or an --expect was not met; 5: building or setting up
failed; 124: the time limit passed; 130: killed from the terminal; 129, 130 or
143: ended by SIGHUP (the terminal closed), SIGINT or SIGTERM. However scripts/run
ends, the emulated machine ends as well."""


class Step(argparse.Action):
    """Collects --expect and --send into one list, in the order given."""

    def __call__(self, parser, namespace, values, option_string=None):
        kind = option_string.lstrip("-")
        text = values
        if kind == "send":
            # \n is the Enter key, which sends a carriage return; \x1d is Ctrl-].
            text = codecs.decode(values.replace("\\n", "\\r"), "unicode_escape")
        namespace.steps = (namespace.steps or []) + [(kind, text)]


def module(text):
    """FILE[:NAME]"""
    file, colon, name = text.rpartition(":")
    if not colon:
        file, name = text, Path(text).name
    return (name, Path(file))


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scripts/run", description=ABOUT, epilog=STATUS,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--machine", choices=MACHINES, default=MACHINES[0],
                         help="emulator and CPU vendor (default %(default)s)")
    machine.add_argument("--cpus", type=int, default=1, metavar="N", help="default %(default)s")
    machine.add_argument("--memory", default="512M", metavar="SIZE", help="default %(default)s")
    machine.add_argument("--cpu", metavar="MODEL", help="the emulator's CPU model, such as max,-svm")
    machine.add_argument("--icount", action="store_true",
                         help="deterministic; a TSC tick is one instruction (QEMU only)")
    machine.add_argument("--iso", choices=("bios", "uefi", "none"),
                         help="boot through GRUB under BIOS or UEFI, or straight by -kernel "
                         "(default: none for QEMU, bios for Bochs)")
    machine.add_argument("--com2", type=Path, metavar="FILE",
                         help="where the second serial port's output goes (default: nowhere)")

    what = parser.add_argument_group("what it boots")
    what.add_argument("--conf", type=Path, metavar="FILE", help="quire.conf (default: guests/default.conf)")
    what.add_argument("--module", dest="modules", type=module, action="append", default=[],
                      metavar="FILE[:NAME]", help="one more boot module; repeatable")
    what.add_argument("--quire", default="", metavar="OPTIONS",
                      help="words for Quire's command line, after the default ones: later words win")

    batch = parser.add_argument_group("without a terminal")
    batch.add_argument("--batch", action="store_true",
                       help="copy the console to standard output, and end with Quire's status")
    batch.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_S, metavar="S",
                       help="give up after S seconds, status 124 (default %(default)g)")
    batch.add_argument("--expect", action=Step, dest="steps", metavar="TEXT",
                       help="wait until TEXT has been printed after what the step before waited for; repeatable")
    batch.add_argument("--send", action=Step, dest="steps", metavar="TEXT",
                       help="wait for a prompt ('quire> ' or a guest's 'NAME# '), then type TEXT; \\n is "
                       "Enter, \\x1d is Ctrl-]; repeatable")

    build = parser.add_argument_group("building")
    build.add_argument("--build-only", action="store_true",
                       help="build everything, with --iso bios or uefi also build/quire.iso; start nothing")
    build.add_argument("--no-setup", action="store_true",
                       help="neither install packages nor build: everything must be there")

    options = parser.parse_args(arguments)
    options.steps = options.steps or []
    is_bochs = options.machine.startswith("bochs")
    if options.iso is None:
        options.iso = "bios" if is_bochs else "none"
    if is_bochs and options.iso != "bios":
        parser.error("Bochs boots from a BIOS image only: leave out --iso")
    if is_bochs and options.icount:
        parser.error("--icount is an option of QEMU; Bochs is always deterministic")
    if options.steps and not options.batch:
        parser.error("--expect and --send need --batch")
    if not options.batch and not sys.stdin.isatty() and not options.build_only:
        print("run: standard input is no terminal: going on as if --batch were given", file=sys.stderr)
        options.batch = True
    return options


def quire_command_line(options):
    default = "exit=poweroff events=json" if options.batch else "exit=prompt"
    return f"{default} {options.quire}".strip()
