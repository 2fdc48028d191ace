# SPDX-License-Identifier: MIT
"""scripts/run after the set-up: build, make the boot files, start, report."""

import fcntl
import os
import shutil
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


def say(text):
    print(f"run: {text}", file=sys.stderr, flush=True)


class Failure(Exception):
    """Carries the exit status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def progress(what, command):
    """Runs a command quietly; says so every two seconds while it takes; shows its output if it fails."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=paths.ROOT, stdout=output, stderr=subprocess.STDOUT)
        while True:
            try:
                process.wait(2)
                break
            except subprocess.TimeoutExpired:
                say(f"{what}, {time.monotonic() - start:.0f} s")
        if process.returncode:
            output.seek(0)
            sys.stderr.buffer.write(output.read())
            raise Failure(STATUS_NOT_BUILT, f"{what} failed")


def build():
    """Quire, the small guests and the initial file system; one builder at a time."""
    paths.BUILD.mkdir(exist_ok=True)
    with open(paths.BUILD / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress("building Quire", ["make", "-j2", "all"])
        progress("building the test guests", ["make", "-j2", "-f", "guests/Makefile"])
        progress("making the initial file system", ["scripts/make-initramfs"])


def make_boot_files(options, run_folder):
    """Returns what emulator.qemu_command() and Bochs need, as {what: path or text}."""
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
    """Runs the machine to its end; returns the text that it printed."""
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


def run(options):
    paths.RUNS.mkdir(parents=True, exist_ok=True)
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
    except KeyboardInterrupt:
        return STATUS_KILLED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
