# SPDX-License-Identifier: MIT
"""Does the work of scripts/run after the set-up: build, make the boot files, start, report."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bootfiles
import emulator
import options as run_options
import paths
import session

STATUS_NO_ANSWER = 4
STATUS_NOT_BUILT = 5
STATUS_TIMED_OUT = 124
STATUS_KILLED = 130
STATUS_SIGNAL = 128  # plus the signal's number

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


def say(text):
    print(f"run: {text}", file=sys.stderr, flush=True)


class Failure(Exception):
    """Carries the exit status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def signals_catch():
    """Turns the signals that end this process into a Failure, so that it cleans up first."""
    def fail(number, _):
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Failure(STATUS_SIGNAL + number, f"killed by {signal.Signals(number).name}")

    for each in SIGNALS:
        # nohup and shells have some of them ignored.
        if signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, fail)


def progress(what, command):
    """Runs a command, prints `what` every two seconds, and prints the command's output if it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=paths.ROOT, stdout=output, stderr=subprocess.STDOUT)
        try:
            while not ended_within(process, 2):
                say(f"{what}, {time.monotonic() - start:.0f} s")
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode:
            output.seek(0)
            sys.stderr.buffer.write(output.read())
            raise Failure(STATUS_NOT_BUILT, f"{what} failed")


def ended_within(process, seconds):
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def build():
    """Builds Quire, the small guests and the initial file system; one builder at a time."""
    paths.BUILD.mkdir(exist_ok=True)
    with open(paths.BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress("building Quire", ["make", "-j2", "all"])
        progress("building the test guests", ["make", "-j2", "-f", "guests/Makefile"])
        progress("making the initial file system", ["scripts/make-initramfs"])


def make_boot_files(options, run_folder):
    """Returns {what: path or text}, which emulator.qemu_command() and Bochs need."""
    command_line = run_options.quire_command_line(options)
    contents = bootfiles.collect(options.conf, options.modules)
    if options.iso == "none":
        initrd = run_folder / "modules.cpio"
        initrd.write_bytes(bootfiles.archive(contents))
        return {"kernel": paths.QUIRE, "initrd": initrd, "command_line": command_line}
    iso = run_folder / "quire.iso"
    bootfiles.make_iso(iso, paths.QUIRE, contents, command_line, run_folder)
    return {"iso": iso}


def start(options, files, run_folder):
    if options.machine == "qemu-svm":
        return emulator.Qemu(options, files, run_folder)
    return emulator.Bochs(options, files["iso"], run_folder)


def converse(options, machine):
    """Runs the machine until it ends. Returns the text that it printed."""
    if options.batch:
        try:
            return session.batch(machine, options.steps, options.timeout)
        except session.TimedOut as error:
            raise Failure(STATUS_TIMED_OUT, f"gave up after {options.timeout:g} s: {error}") from None
        except session.Failed as error:
            raise Failure(STATUS_NO_ANSWER, str(error)) from None
    text = session.terminal(machine)
    if text is None:
        raise Failure(STATUS_KILLED, "killed from the terminal")
    return text


def old_folders_remove():
    """Removes folders of runs that were killed by SIGKILL; a folder's name begins with the process id."""
    for folder in paths.RUNS.iterdir():
        if not Path("/proc", folder.name.partition("-")[0]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def run(options):
    paths.RUNS.mkdir(parents=True, exist_ok=True)
    old_folders_remove()
    run_folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=paths.RUNS))
    machine = None
    try:
        files = make_boot_files(options, run_folder)
        if options.build_only:
            if "iso" in files:
                shutil.copy(files["iso"], paths.ISO)
                say(f"made {paths.ISO.relative_to(paths.ROOT)}")
            return 0
        machine = start(options, files, run_folder)
        text = converse(options, machine)
        status = machine.status(text.status())
        if status is None:
            raise Failure(STATUS_NO_ANSWER, machine.how_it_ended())
        return status
    finally:
        if machine:
            machine.kill()
        shutil.rmtree(run_folder, ignore_errors=True)


def main(arguments):
    options = run_options.parse(arguments)
    signals_catch()
    try:
        emulator.size_megabytes(options.memory)
        if not options.no_setup:
            build()
        return run(options)
    except Failure as failure:
        say(failure)
        return failure.status
    except subprocess.CalledProcessError as error:
        say(f"{error.cmd[0]} failed:\n{(error.stderr or b'').decode()}")
        return STATUS_NOT_BUILT
    except (bootfiles.MissingFile, ValueError, OSError) as error:
        say(error)
        return STATUS_NOT_BUILT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
