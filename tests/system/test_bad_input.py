# SPDX-License-Identifier: MIT
"""Wrong input gets one clear error with place and reason and ends with status 2. No VM starts.

Some wrong input is not here, because no emulator can show it: virtualization that
firmware has switched off, capability registers that contradict themselves, and memory
maps with overlaps. Host tests have all of these.
"""

import struct

import pytest
from conftest import ROOT, guest, linux, on_every_machine

KERNEL = ROOT / "build/guests/touch.bzimage"

# Offsets in the setup header of the Linux boot protocol.
SETUP_SECTS = 0x1F1
SYSSIZE = 0x1F4
BOOT_FLAG = 0x1FE
MAGIC = 0x202
VERSION = 0x206
XLOADFLAGS = 0x236
INIT_SIZE = 0x260


def one(**keys):
    """Returns a [vm] section in which only `keys` are wrong."""
    return guest("one", image="touch", **keys)


def refused(run, *words):
    """Asserts that Quire refused to start, and that one of its lines has all the words."""
    assert run.status == 2, run
    assert run.started() == [], run
    wanted = [word.lower() for word in words]
    errors = [line for line in run.output.lower().splitlines() if all(w in line for w in wanted)]
    assert errors, f"no line with {words}:\n{run}"


def changed_kernel(quire, changes):
    """Returns a word for --module: a good kernel with other bytes at some offsets."""
    image = bytearray(KERNEL.read_bytes())
    for offset, data in changes.items():
        image[offset : offset + len(data)] = data
    return f"{quire.file('bad', bytes(image))}:kernel"


@pytest.mark.parametrize("machine, model, words", [
    ("qemu-svm", "max,-svm", ("neither", "AMD-V", "VT-x")),
    ("bochs-vmx", "p4_prescott_celeron_336", ("neither", "AMD-V", "VT-x")),
    ("qemu-svm", "qemu64", ("AMD-V", "without nested paging")),
    ("bochs-svm", "turion64_tyler", ("AMD-V", "without nested paging")),
    ("bochs-vmx", "core2_penryn_t9600", ("VT-x", "without nested paging", "EPT")),
    ("bochs-vmx", "corei5_lynnfield_750", ("VT-x", "without unrestricted guest")),
])
def test_a_cpu_that_cannot_run_guests(quire, model, words):
    refused(quire.run(one(), "--cpu", model), *words)


@pytest.mark.parametrize("word", ["elide=maybe", "ahead=1", "log=loud", "elude=on"])
def test_a_bad_word_on_the_command_line(quire, word):
    refused(quire.run(linux("one", "idle"), "--quire", word), "command line", word.split("=")[0])


@on_every_machine
def test_an_unknown_key(quire):
    run = quire.run("[machine]\n\n" + one(memroy="1G"))
    refused(run, "quire.conf", "memroy")


@on_every_machine
def test_the_line_of_an_error_is_named(quire):
    run = quire.run("# a comment\n\n[vm one]\nkernel = touch.bzimage\nmemory = 64M\ncolour = blue\n")
    refused(run, "quire.conf", "6", "colour")


@on_every_machine
@pytest.mark.parametrize("key, value", [
    ("memory", "lots"), ("memory", "-1M"), ("memory", "99999999999999999999G"), ("memory", "0"),
    ("vcpus", "none"), ("vcpus", "0"), ("serial", "parallel"), ("on-reset", "maybe"),
    ("overcommit", "some"), ("debug-exit", "1"), ("autostart", ""), ("reserve", "1T"),
])
def test_a_bad_value(quire, key, value):
    run = quire.run(one(**{key: value}))
    refused(run, "quire.conf", key)


@on_every_machine
@pytest.mark.parametrize("conf, word", [
    ("[vm one]\nkernel = touch.bzimage\n", "memory"),
    ("[vm one]\nmemory = 64M\n", "kernel"),
    ("kernel = touch.bzimage\n", "section"),
    ("[vm One]\nkernel = touch.bzimage\nmemory = 64M\n", "One"),
    ("[vm one\nkernel = touch.bzimage\nmemory = 64M\n", "]"),
    ("[cellar]\n", "cellar"),
    ("[vm one]\njust words\n", "2"),
    ("[machine]\nattach = nobody\n[vm one]\nkernel = touch.bzimage\nmemory = 64M\n", "attach"),
])
def test_a_malformed_configuration(quire, conf, word):
    refused(quire.run(conf), word)


@on_every_machine
def test_a_section_given_twice(quire):
    run = quire.run(one() + one())
    refused(run, "quire.conf", "already")


@on_every_machine
def test_a_configuration_that_is_too_long(quire):
    refused(quire.run("# filler\n" * 8000 + one()), "quire.conf:1:", "72091 bytes", "65536")


@on_every_machine
def test_a_missing_module(quire):
    run = quire.run(one(kernel="no-such-kernel"))
    refused(run, "no-such-kernel")


@on_every_machine
def test_a_missing_initrd(quire):
    run = quire.run(one(initrd="no-such-initrd"))
    refused(run, "no-such-initrd")


@on_every_machine
def test_a_kernel_that_is_none(quire):
    run = quire.run(one(kernel="kernel"), "--module",
                    f"{quire.file('text', 'no kernel at all ' * 1000)}:kernel")
    refused(run, "'kernel'")


@on_every_machine
def test_an_empty_kernel(quire):
    # A boot loader may leave out an empty module.
    run = quire.run(one(kernel="kernel"), "--module", f"{quire.file('empty', b'')}:kernel")
    refused(run, "quire.conf", "vm one:", "kernel")


@on_every_machine
@pytest.mark.parametrize("size", [0x100, 0x200, 0x250, 0x400, 0x1000])
def test_a_truncated_kernel(quire, size):
    short = quire.file("short", KERNEL.read_bytes()[:size])
    refused(quire.run(one(kernel="kernel"), "--module", f"{short}:kernel"), "'kernel'")


@on_every_machine
@pytest.mark.parametrize("changes", [
    pytest.param({SETUP_SECTS: b"\xff", SYSSIZE: struct.pack("<I", 0x7FFFFFFF)}, id="larger_than_file"),
    pytest.param({SYSSIZE: struct.pack("<I", 0xFFFFFFFF)}, id="image_size_wraps"),
    pytest.param({INIT_SIZE: struct.pack("<I", 0xFFFFF000)}, id="needs_four_gigabytes"),
    pytest.param({BOOT_FLAG: b"\0\0"}, id="no_boot_flag"),
    pytest.param({MAGIC: b"NoNo"}, id="no_magic"),
    pytest.param({VERSION: struct.pack("<H", 0x0204)}, id="too_old"),
    pytest.param({XLOADFLAGS: b"\0\0"}, id="no_64_bit_entry"),
])
def test_a_kernel_whose_header_lies(quire, changes):
    run = quire.run(one(kernel="kernel"), "--module", changed_kernel(quire, changes))
    refused(run, "'kernel'")


@on_every_machine
def test_memory_smaller_than_the_kernel_needs(quire):
    refused(quire.run(linux("one", "idle", memory="16M")), "vmlinuz", "memory")


@on_every_machine
def test_reservations_that_exceed_the_machine(quire):
    conf = "".join(guest(name, image="touch", memory="512M", reserve="300M")
                   for name in ("one", "two"))
    refused(quire.run(conf, "--memory", "512M"), "reserv")


@on_every_machine
def test_guaranteed_memory_that_exceeds_the_machine(quire):
    conf = one(overcommit="none", memory="1G")
    refused(quire.run(conf, "--memory", "512M"), "one")


@on_every_machine
def test_a_machine_with_too_little_memory(quire):
    # The files fit, the guest's guarantee does not.
    refused(quire.run(linux("one", "idle"), "--memory", "96M"),
            "vm one: reservation of 128M refused", "can still be promised")


@on_every_machine
def test_a_second_vm_that_is_wrong_keeps_the_first_from_starting(quire):
    conf = guest("spin") + guest("other", image="no-such-image")
    refused(quire.run(conf), "no-such-image")
