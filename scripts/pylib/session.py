# SPDX-License-Identifier: MIT
"""Connects a machine's console with a script (batch) or with this terminal."""

import os
import re
import select
import sys
import termios
import time
import tty

# Terminal control sequences; --expect does not see them.
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ESCAPE_BEGUN = re.compile(r"\x1b(\[[0-9;?]*)?$")
# What the console erases, as Quire does with its prompt before it prints a line of the log.
_ERASED = re.compile(rb"[^\n]*\r\x1b\[K")

# A prompt at the start of a line: Quire's, or a guest's.
PROMPT = re.compile(r"(?:^|[\r\n])(?:quire> |[a-z0-9-]+# )")
# With the end of the line: text that comes in parts may lack a digit.
_STATUS = re.compile(r"quire: exit status ([0-9]+)\r?\n")

_POLL_S = 0.25
# How long after Quire's last line the machine may take to end.
_GRACE_S = 3.0

KILL_KEY = b"\x1c"  # Ctrl-\, three times in a row


class Failed(Exception):
    """The machine ended before --expect or --send got what it waited for."""


class TimedOut(Exception):
    """The time limit passed."""


class Text:
    """The text printed so far, without terminal control sequences."""

    def __init__(self):
        self.all = ""
        self._held = ""

    def add(self, data):
        text = self._held + data.decode("utf-8", "replace")
        begun = _ESCAPE_BEGUN.search(text)
        self._held = text[begun.start():] if begun else ""
        text = text[: begun.start()] if begun else text
        self.all += _ESCAPE.sub("", text)

    def status(self):
        """Returns N of the last "quire: exit status N", or None."""
        found = _STATUS.findall(self.all)
        return int(found[-1]) if found else None


class LogFile:
    """Standard output by whole lines, without erased text and lines with a prompt alone."""

    def __init__(self):
        self._begun = b""

    def write(self, data):
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            self._write_line(line, b"\n")

    def finish(self):
        self._write_line(self._begun, b"")
        self._begun = b""

    def _write_line(self, line, end):
        kept = _ERASED.sub(b"", line)
        if kept.strip() != b"quire>":
            write_output(kept + end)


class Console:
    """Passes what a machine's serial line carries to `write`, and keeps its Text."""

    def __init__(self, machine, write):
        self._machine = machine
        self._write = write
        self.text = Text()

    def copy(self, seconds):
        """Waits up to `seconds` for output and copies it. False: the line is closed."""
        ready, _, _ = select.select([self._machine.output], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._machine.output, 65536)
        except OSError:  # a pseudo-terminal whose other side is gone
            return False
        if not data:
            return False
        self._write(data)
        self.text.add(data)
        return True

    def drain(self):
        """Copies the rest of the output, after the machine has ended."""
        while select.select([self._machine.output], [], [], 0)[0] and self.copy(0):
            pass


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def write_output(data):
    write_all(sys.stdout.fileno(), data)


class Script:
    """The --expect and --send steps, in order."""

    def __init__(self, steps, machine):
        self._steps = list(steps)
        self._machine = machine
        self._expect_from = 0
        self._prompt_from = 0

    def is_done(self):
        return not self._steps

    def advance(self, text):
        """Carries out all steps that do not have to wait."""
        while self._steps and self._advance_one(text):
            self._steps.pop(0)

    def _advance_one(self, text):
        kind, wanted = self._steps[0]
        if kind == "expect":
            at = text.all.find(wanted, self._expect_from)
            if at >= 0:
                self._expect_from = at + len(wanted)
            return at >= 0
        if not PROMPT.search(text.all, self._prompt_from):
            return False
        self._prompt_from = len(text.all)
        self._expect_from = max(self._expect_from, self._prompt_from)
        write_all(self._machine.input, wanted.encode())
        return True

    def complaint(self):
        kind, wanted = self._steps[0]
        if kind == "expect":
            return f"--expect {wanted!r}: was not printed"
        return f"--send {wanted!r}: there was no prompt to type it at"


def batch(machine, steps, timeout_s):
    """Copies the console and carries out the steps until the machine ends. Returns the Text."""
    log = LogFile()
    try:
        return _batch(machine, steps, timeout_s, Console(machine, log.write))
    finally:
        log.finish()


def _batch(machine, steps, timeout_s, console):
    script = Script(steps, machine)
    deadline = time.monotonic() + timeout_s
    grace_end = None
    while console.copy(_POLL_S):
        script.advance(console.text)
        now = time.monotonic()
        if now > deadline:
            if not script.is_done():
                raise TimedOut(script.complaint())
            raise TimedOut("Quire was still running")
        if grace_end is None and console.text.status() is not None:
            grace_end = now + (_GRACE_S if machine.ends_by_itself else 0)
        if not machine.is_running() or (grace_end is not None and now > grace_end):
            break
    machine.finish(_GRACE_S)
    console.drain()
    script.advance(console.text)
    if not script.is_done():
        raise Failed(script.complaint())
    return console.text


class _Waiting:
    """Shows once a second, until the first prompt, that the machine is still starting."""

    def __init__(self):
        self._start = time.monotonic()
        self._quiet_since = self._start
        self._is_shown = False
        self._is_over = False

    def printed(self, text):
        self._erase()
        self._quiet_since = time.monotonic()
        self._is_over = self._is_over or PROMPT.search(text.all) is not None

    def tick(self):
        now = time.monotonic()
        if self._is_over or now - self._quiet_since < 2:
            return
        sys.stderr.write(f"\r[starting, {now - self._start:.0f} s]")
        sys.stderr.flush()
        self._is_shown = True

    def _erase(self):
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_shown = False


def terminal(machine):
    """Connects this terminal with the console. Returns the Text, or None if the user killed it."""
    console = Console(machine, write_output)
    waiting = _Waiting()
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    kill_keys = b""
    try:
        tty.setraw(keyboard)
        while machine.is_running():
            seen = len(console.text.all)
            ready, _, _ = select.select([machine.output, keyboard], [], [], 1)
            if not ready:
                waiting.tick()
            if machine.output in ready and not console.copy(0):
                break
            if len(console.text.all) != seen:
                waiting.printed(console.text)
            if keyboard in ready:
                typed = os.read(keyboard, 1024)
                if not typed:  # the terminal is gone
                    machine.kill()
                    return None
                write_all(machine.input, typed)
                kill_keys = (kill_keys + typed)[-3:]
                if kill_keys == KILL_KEY * 3:
                    machine.kill()
                    return None
            if not machine.ends_by_itself and console.text.status() is not None:
                break
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
    machine.finish(_GRACE_S)
    console.drain()
    return console.text
