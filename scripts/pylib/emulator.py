# SPDX-License-Identifier: MIT
"""Starts an emulated machine and provides its serial line as two file descriptors.

QEMU's exit status says how Quire ended: to end with status N, Quire writes 0x10 + N to
port 0xf4, and QEMU exits with ((0x10 + N) << 1) | 1. Any other exit status is none of
Quire's, not even 0: with -no-reboot QEMU gives 0 after a triple fault. Bochs has no such
port: Quire's last line has the status, and then the machine is killed.
"""

import ctypes
import os
import pty
import shutil
import signal
import subprocess
import tty

OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"

PR_SET_PDEATHSIG = 1  # of Linux, "linux/prctl.h"
_libc = ctypes.CDLL(None)

QEMU_STATUS = {((0x10 + status) << 1) | 1: status for status in range(4)}

BOCHS_CPU = {"bochs-vmx": "corei7_skylake_x", "bochs-svm": "ryzen"}

# Bochs needs the name of a display: "term" draws on a terminal, here on a file that
# is not read.
BOCHS_CONFIG = """\
config_interface: textconfig
display_library: term
plugin_ctrl: unmapped=1, biosdev=1, iodebug=1, serial=1, e1000=1
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
memory: guest={megabytes}, host={host_megabytes}
cpu: model={cpu}, count={cpus}, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1, cpuid_limit_winnt=0
clock: sync=none, time0=946681200
pci: enabled=1, chipset=i440fx, slot1=e1000
e1000: card=0, enabled=1, mac=52:54:00:00:00:01, ethmod=null, ethdev=eth0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path="{iso}", status=inserted
boot: cdrom
com1: enabled=1, mode=term, dev={terminal}
{com2}
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
port_e9_hack: enabled=1
magic_break: enabled=1
log: {log}
logprefix: %t%e%d
panic: action=fatal{svm_panic}
error: action=ignore
info: action=ignore
debug: action=ignore
"""


def size_megabytes(text):
    """A SIZE such as 512M or 1G in megabytes."""
    scale = {"K": 1 / 1024, "M": 1, "G": 1024}.get(text[-1:].upper())
    number = text[:-1] if scale else text
    if not number.isdigit():
        raise ValueError(f"'{text}' is no size: give a number with K, M or G")
    return max(1, int(int(number) * (scale or 1)))


def tied_to_this_process():
    """Returns a function that a child runs before it becomes another program. From then on the
    kernel kills the child when this process ends, even if this process is killed by SIGKILL."""
    parent = os.getpid()

    def tie():
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # If the parent has ended before this, no signal comes.
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return tie


def start(command, **keys):
    """Starts an emulator in a session of its own: keys typed at this terminal do not signal it."""
    return subprocess.Popen(command, start_new_session=True, preexec_fn=tied_to_this_process(), **keys)


class Machine:
    """A running emulator. `input` and `output` are file descriptors of its serial line."""

    def __init__(self, process, input_fd, output_fd):
        self._process = process
        self.input = input_fd
        self.output = output_fd

    def is_running(self):
        return self._process.poll() is None

    def finish(self, seconds):
        """Gives a machine that ends by itself `seconds` to do so, then kills it."""
        if self.ends_by_itself:
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self):
        """Ends this machine and no other process: the emulator leads a process group of its own."""
        if self.is_running():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def status(self, printed_status):
        """Returns Quire's status, or None if it ended without one. The machine has ended before."""
        raise NotImplementedError


class Qemu(Machine):
    ends_by_itself = True

    def __init__(self, options, files, run_folder):
        process = start(qemu_command(options, files, run_folder), stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE)
        super().__init__(process, process.stdin.fileno(), process.stdout.fileno())

    def status(self, printed_status):
        return QEMU_STATUS.get(self._process.returncode)

    def how_it_ended(self):
        code = self._process.returncode
        if code == 0:
            return "QEMU ended with 0: a triple fault, a reset, or ACPI power-off without a status"
        return f"QEMU ended with {code}"


class Bochs(Machine):
    # Quire ends with its status line, but the emulator may go on for ever.
    ends_by_itself = False

    def __init__(self, options, iso, run_folder):
        master, slave = pty.openpty()
        tty.setraw(slave)
        self._slave = slave
        config = run_folder / "bochsrc"
        run_folder = run_folder.resolve()
        config = config.resolve()
        config.write_text(bochs_config(options, iso.resolve(), os.ttyname(slave), run_folder))
        script = run_folder / "bochs.script"
        # Bochs's debugger stops at each panic that is only reported: continue every time.
        script.write_text("c\n" * 200 + "q\n")
        with open(run_folder / "bochs.out", "wb") as out:
            # The network card logs to the current folder, so that is the run's.
            process = start(["bochs-bin", "-q", "-f", str(config), "-rc", str(script.resolve())],
                            cwd=run_folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                            env={**os.environ, "TERM": "dumb"})
        super().__init__(process, master, master)

    def status(self, printed_status):
        return printed_status

    def how_it_ended(self):
        return f"Bochs ended with {self._process.returncode}"


def qemu_command(options, files, run_folder):
    """`files` has kernel, initrd and command_line for a direct boot, or else iso."""
    command = ["qemu-system-x86_64", "-machine", "q35", "-cpu", options.cpu or "max",
               "-smp", str(options.cpus), "-m", f"{size_megabytes(options.memory)}M",
               "-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
               "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]
    if options.com2:
        command += ["-serial", f"file:{options.com2}"]
    if options.icount:
        command += ["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm", "-seed", "1"]
    if options.iso == "none":
        command += ["-kernel", str(files["kernel"]), "-initrd", str(files["initrd"]),
                    "-append", files["command_line"]]
        return command
    command += ["-cdrom", str(files["iso"])]
    if options.iso == "uefi":
        variables = run_folder / "ovmf_variables.fd"
        shutil.copy(OVMF_VARIABLES, variables)
        command += ["-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={OVMF_CODE}",
                    "-drive", f"if=pflash,format=raw,unit=1,file={variables}"]
    return command


def bochs_config(options, iso, terminal, run_folder):
    megabytes = size_megabytes(options.memory)
    com2 = f"com2: enabled=1, mode=file, dev={options.com2}" if options.com2 else ""
    # Bochs panics at a guest's triple fault before it delivers the SHUTDOWN exit.
    svm_panic = ", cpu0=report" if options.machine == "bochs-svm" else ""
    return BOCHS_CONFIG.format(
        megabytes=megabytes, host_megabytes=min(megabytes, 2048), cpus=options.cpus,
        cpu=options.cpu or BOCHS_CPU[options.machine], iso=iso, terminal=terminal, com2=com2,
        log=run_folder / "bochs.log", svm_panic=svm_panic)
