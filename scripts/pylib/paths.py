# SPDX-License-Identifier: MIT
"""Paths in the tree and in build/."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"

QUIRE = BUILD / "quire.elf"
GUEST_KERNEL = BUILD / "debian" / "vmlinuz"
INITRAMFS = BUILD / "initramfs"
GUESTS = BUILD / "guests"
ISO = BUILD / "quire.iso"
DEFAULT_CONF = ROOT / "guests" / "default.conf"
RUNS = BUILD / "run"
