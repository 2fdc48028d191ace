# SPDX-License-Identifier: MIT
"""Makes the files that Quire boots with: its configuration, the modules, the ISO image."""

import subprocess
import sys
from pathlib import Path

import newc
import paths

# Files for the modules that a configuration names, unless --module gives others.
BUILT_MODULES = {"vmlinuz": paths.GUEST_KERNEL, "initramfs": paths.INITRAMFS}

GRUB_CONFIG = """\
# Quire's console is the serial line. GRUB does not use it, so Quire prints the
# first byte there.
set timeout=0
set default=0
terminal_input console
terminal_output console
menuentry "Quire" {{
	multiboot2 /boot/quire.elf {options}
{modules}
	boot
}}
"""


class MissingFile(Exception):
    """A file that is needed does not exist."""


def _named_modules(conf_text):
    """Yields the modules that the configuration names. Ignores errors: Quire reports them."""
    for line in conf_text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() in ("kernel", "initrd", "firmware"):
            yield from (name.strip() for name in value.split(",") if name.strip())


def _built_module(name):
    if name in BUILT_MODULES:
        return BUILT_MODULES[name]
    return paths.GUESTS / name


def _read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingFile(f"{path}: {error.strerror}") from error


def collect(conf, modules):
    """Returns {name: bytes}: quire.conf, the modules given, and the built modules that it names."""
    conf_bytes = _read(conf or paths.DEFAULT_CONF)
    files = {"quire.conf": conf_bytes}
    for name, path in modules:
        files[name] = _read(path)
    for name in _named_modules(conf_bytes.decode(errors="replace")):
        path = _built_module(name)
        # A module that does not exist is left out: Quire reports it.
        if name not in files and path.is_file():
            files[name] = path.read_bytes()
    return files


def archive(files):
    """Returns a cpio archive of all files. Quire opens it and sees the files."""
    writer = newc.Archive()
    for name, data in files.items():
        writer.file(name, data)
    return writer.bytes()


def make_iso(output, quire, files, command_line, work):
    """Makes a boot image for BIOS and UEFI. `work` is a folder for its content."""
    boot = work / "iso" / "boot"
    (boot / "grub").mkdir(parents=True)
    (boot / "quire.elf").write_bytes(_read(quire))
    lines = []
    for name, data in files.items():
        # Quire opens a module that is an archive. An initial file system is one too, so put it
        # into another archive: Quire opens that one and finds the file itself.
        wrapped = archive({name: data}) if newc.is_archive(data) else data
        (boot / name).write_bytes(wrapped)
        lines.append(f"\tmodule2 /boot/{name} {name}")
    (boot / "grub" / "grub.cfg").write_text(
        GRUB_CONFIG.format(options=command_line, modules="\n".join(lines)))
    # Only the modules that the menu needs: GRUB's default set makes the image slow and large.
    subprocess.run(["grub-mkrescue", "-o", str(output), "--compress=no", "--locales=", "--themes=",
                    "--fonts=", "--install-modules=multiboot2 normal part_gpt part_msdos iso9660",
                    str(work / "iso")],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def main():
    """scripts/make-iso OUTPUT QUIRE_ELF OPTIONS [FILE[:NAME]...]"""
    import tempfile

    import options

    if len(sys.argv) < 4:
        sys.exit(f"usage: {main.__doc__.strip()}")
    output, quire, command_line = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    try:
        files = {name: _read(path) for name, path in map(options.module, sys.argv[4:])}
        with tempfile.TemporaryDirectory() as work:
            make_iso(output, quire, files, command_line, Path(work))
    except MissingFile as error:
        sys.exit(f"make-iso: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"make-iso: grub-mkrescue failed:\n{error.stderr.decode()}")
