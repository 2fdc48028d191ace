# SPDX-License-Identifier: MIT
"""Writes cpio archives in the "newc" format, the same bytes for the same input.

Used for the guests' initial file system, and for the boot modules when the loader
passes only one file (QEMU's PVH loader): that file is an archive of all of them. Times
are 0, the owner is root, inode numbers count from 1, entries keep their order.
"""

import stat

MAGIC = b"070701"
TRAILER = "TRAILER!!!"


class Archive:
    """An archive in memory; bytes() finishes it."""

    def __init__(self):
        self._out = bytearray()
        self._inode = 0

    def _entry(self, name, mode, data=b"", device=(0, 0), inode=None):
        if inode is None:
            self._inode += 1
            inode = self._inode
        encoded = name.encode() + b"\0"
        # inode mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
        fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, device[0], device[1], len(encoded), 0)
        self._out += MAGIC + b"".join(b"%08X" % field for field in fields) + encoded
        self._pad()
        self._out += data
        self._pad()

    def _pad(self):
        self._out += b"\0" * (-len(self._out) % 4)

    def folder(self, name):
        self._entry(name, stat.S_IFDIR | 0o755)

    def file(self, name, data, mode=0o644):
        self._entry(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name, major, minor):
        self._entry(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def bytes(self):
        self._entry(TRAILER, 0, inode=0)
        return bytes(self._out)


def is_archive(data):
    return data[: len(MAGIC)] == MAGIC
