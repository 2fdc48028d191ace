# SPDX-License-Identifier: MIT
"""scripts/run as a person uses it: on a terminal, with the default guests."""

import sys

import pexpect
from conftest import ROOT, TIME_LIMIT_S


def test_the_terminal_ends_at_the_attached_guests_shell():
    command = f"{ROOT}/scripts/run --no-setup"
    terminal = pexpect.spawn(command, timeout=TIME_LIMIT_S, encoding="utf-8", codec_errors="replace")
    terminal.logfile_read = sys.stdout
    try:
        terminal.expect("one# ")
        terminal.send("echo $((6 * 7))\r")
        terminal.expect("42")
        # Ctrl-C goes to the guest.
        terminal.send("sleep 1000\r")
        terminal.send("\x03")
        terminal.expect("one# ")
        terminal.send("\x1d")
        terminal.expect("quire> ")
        terminal.send("list\r")
        terminal.expect("two")
        terminal.expect("quire> ")
        terminal.send("poweroff\r")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
