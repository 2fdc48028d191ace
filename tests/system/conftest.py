# SPDX-License-Identifier: MIT
"""What the system tests share: one call boots Quire with a configuration and returns
everything that a test judges. The tree must be built, as scripts/test does.

A test runs on QEMU's AMD-V unless one of the marks below, or a parameter called
`machine`, names other machines. docs/caveats.md says why a test leaves out a machine."""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# As many as in scripts/test: an emulator with one CPU keeps one core busy.
WORKERS = 2

# Both CPU vendors. EVERY_MACHINE adds a second AMD-V, for boots of a second or two.
QEMU_SVM = "qemu-svm"
BOTH_VENDORS = (QEMU_SVM, "bochs-vmx")
EVERY_MACHINE = (*BOTH_VENDORS, "bochs-svm")

on_both_vendors = pytest.mark.parametrize("machine", BOTH_VENDORS)
on_every_machine = pytest.mark.parametrize("machine", EVERY_MACHINE)
# An interpreter takes minutes to boot Linux.
linux_on_both_vendors = pytest.mark.parametrize("machine", [
    QEMU_SVM, pytest.param("bochs-vmx", marks=pytest.mark.long)])

# A boot of Linux takes about ten seconds in QEMU and minutes in Bochs, on a quiet
# machine; tests never judge speed.
TIME_LIMIT_S = 180
BOCHS_TIME_LIMIT_S = 900

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Run:
    """How a run ended: `status`, and the console's `output`."""

    def __init__(self, status, output, messages):
        self.status = status
        self.output = ESCAPE.sub("", output.replace("\r", ""))
        self.messages = messages  # of scripts/run itself

    def events(self, kind=None):
        """Returns the printed events, in order; only those of one kind if it is given."""
        found = [json.loads(line[1:]) for line in self.output.splitlines() if line.startswith("@{")]
        return [event for event in found if kind in (None, event["event"])]

    def started(self):
        return [event["vm"] for event in self.events("vm") if event["state"] == "started"]

    def stop_of(self, vm):
        """Returns the event of a VM's last stop; None if it has not stopped."""
        stops = [event for event in self.events("vm")
                 if event["vm"] == vm and event["state"] == "stopped"]
        return stops[-1] if stops else None

    def objects(self):
        """Returns the JSON objects that commands with --json printed."""
        return [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]

    def log_of(self, vm):
        """Returns the lines that a VM with serial = log printed."""
        mark = f"[{vm}] "
        return [line[len(mark):] for line in self.output.splitlines() if line.startswith(mark)]

    def __str__(self):
        return f"status {self.status}\n{self.messages}\n{self.output}"

    __repr__ = __str__  # what pytest prints


class Quire:
    """Boots Quire on one of the machines of scripts/run."""

    def __init__(self, folder, machine):
        self._folder = folder
        self._machine = machine

    def file(self, name, content):
        """Makes a file for --module; `content` is bytes or text."""
        path = self._folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, conf=None, *arguments, steps=(), time_limit_s=None):
        """Boots. `conf` is the text of quire.conf; `steps` are ("expect" or "send", text) pairs."""
        usual = TIME_LIMIT_S if self._machine.startswith("qemu") else BOCHS_TIME_LIMIT_S
        timeout = time_limit_s or usual
        command = [ROOT / "scripts/run", "--no-setup", "--batch", f"--timeout={timeout}",
                   f"--machine={self._machine}"]
        if conf is not None:
            command += ["--conf", self.file("quire.conf", conf)]
        command += arguments
        for kind, text in steps:
            command += [f"--{kind}={text}"]
        result = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=timeout + 60, check=False)
        return Run(result.returncode, result.stdout.decode(errors="replace"),
                   result.stderr.decode(errors="replace"))


@pytest.fixture
def machine():
    """The machine that a test runs on. A parameter of the same name replaces it."""
    return QEMU_SVM


@pytest.fixture
def quire(tmp_path, machine):
    return Quire(tmp_path, machine)


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes, so it is started first")


def pytest_collection_modifyitems(items):
    """Puts long tests first, so that no worker ends with one, and records each test's machine.

    Each worker holds one waiting test besides the one that it runs. So short tests follow the
    first long ones: a long one would wait there while other workers are free."""
    longs = [item for item in items if item.get_closest_marker("long")]
    shorts = [item for item in items if not item.get_closest_marker("long")]
    items[:] = longs[:WORKERS] + shorts[:WORKERS] + longs[WORKERS:] + shorts[WORKERS:]
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        item.user_properties.append(("machine", parameters.get("machine", QEMU_SVM)))


def linux(name, what, **keys):
    """Returns a [vm] section with Debian's kernel, which runs `what` (see guests/linux/init)."""
    settings = {"kernel": "vmlinuz", "initrd": "initramfs",
                "cmdline": f"console=ttyS0 quiet name={name} run={what}", "memory": "512M",
                "serial": "log", "on-reset": "stop", **keys}
    return section(name, settings)


def guest(name, image=None, **keys):
    """Returns a [vm] section with one of the small guests of guests/."""
    settings = {"kernel": f"{image or name}.bzimage", "memory": "64M", "serial": "log",
                "on-reset": "stop", "debug-exit": "on", **keys}
    return section(name, settings)


def section(name, settings):
    """Returns a section of quire.conf. The key `on_reset` becomes `on-reset`; None leaves a key out."""
    settings = {key.replace("_", "-"): value for key, value in settings.items()}
    lines = [f"{key} = {value}" for key, value in settings.items() if value is not None]
    return "\n".join([f"[vm {name}]", *lines, "", ""])


def own_data_sum(name, size):
    """Returns the SHA-256 of `size` bytes of the data that the guest `name` makes from its name."""
    line = name.encode() + b"\n"
    return hashlib.sha256((line * (size // len(line) + 1))[:size]).hexdigest()


def sum16(name):
    """Returns the sum that the guest `name` must print for run=sum16."""
    return own_data_sum(name, 16 << 20)
