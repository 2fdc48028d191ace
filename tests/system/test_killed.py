# SPDX-License-Identifier: MIT
"""However scripts/run ends, the emulator that it started also ends."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path

import pytest
from conftest import ROOT, TIME_LIMIT_S, guest, on_every_machine

RUNS_FOR_EVER = guest("spin")
SILENT = guest("spin", autostart="no")  # after the prompt
# The last one cannot be caught, so the kernel decides its status.
SIGNALS = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


def sigint_restore():
    """Undoes what a shell without job control does: it starts programs with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextlib.contextmanager
def started(folder, machine, conf, *arguments, **keys):
    file = folder / "quire.conf"
    file.write_text(conf)
    command = [ROOT / "scripts/run", "--no-setup", f"--machine={machine}", "--conf", file, *arguments]
    with subprocess.Popen(command, **keys) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(text, output):
    printed = b""
    while text not in printed:
        assert select.select([output], [], [], TIME_LIMIT_S)[0], printed
        printed += os.read(output, 4096)


def emulator_of(process):
    """Returns a file descriptor that becomes readable when the only child of scripts/run ends."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    return os.pidfd_open(int(children[0]))


def folders_of(process):
    return list((ROOT / "build/run").glob(f"{process.pid}-*"))


def assert_ends(emulator):
    has_ended = select.select([emulator], [], [], TIME_LIMIT_S)[0]
    if not has_ended:
        signal.pidfd_send_signal(emulator, signal.SIGKILL)
    os.close(emulator)
    assert has_ended, "the emulator is still there"


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@on_every_machine
def test_a_signal_ends_the_emulator(tmp_path, machine, number):
    with started(tmp_path, machine, RUNS_FOR_EVER, "--batch", stdin=subprocess.DEVNULL,
                 stdout=subprocess.PIPE, preexec_fn=sigint_restore) as process:
        wait_for(b"quire", process.stdout.fileno())
        emulator = emulator_of(process)
        process.send_signal(number)
        status = process.wait(TIME_LIMIT_S)
        assert_ends(emulator)
        assert status == SIGNALS[number]
        assert number == signal.SIGKILL or not folders_of(process)


def test_the_next_run_removes_what_a_killed_one_has_left(tmp_path):
    with started(tmp_path, "qemu-svm", RUNS_FOR_EVER, "--batch", stdin=subprocess.DEVNULL,
                 stdout=subprocess.PIPE) as process:
        wait_for(b"quire", process.stdout.fileno())
        process.kill()
    assert folders_of(process)
    subprocess.run([ROOT / "scripts/run", "--no-setup", "--build-only"], check=True)
    assert not folders_of(process)


@pytest.mark.parametrize("hangup", (signal.SIG_DFL, signal.SIG_IGN), ids=("signal", "no signal"))
@on_every_machine
def test_a_closed_terminal_ends_the_emulator(tmp_path, machine, hangup):
    ours, terminal = pty.openpty()

    def terminal_own():
        """Makes the terminal the controlling one. Closing it sends SIGHUP, which nohup ignores."""
        signal.signal(signal.SIGHUP, hangup)
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    with started(tmp_path, machine, SILENT, stdin=terminal, stdout=terminal, stderr=terminal,
                 start_new_session=True, preexec_fn=terminal_own) as process:
        os.close(terminal)
        wait_for(b"quire> ", ours)
        emulator = emulator_of(process)
        os.close(ours)
        process.wait(TIME_LIMIT_S)
        assert_ends(emulator)
