"""Reads from the head of an executable what the kernel would start: its interpreter (the loader), if any."""

import struct

HEAD = 1 << 20
"""How many bytes of a file are looked at."""

SCRIPT = "script"
"""A file that begins with `#!`: another program runs it, so its bytes cannot be what is measured."""
FOREIGN = "foreign"
"""Not an x86-64 executable that can be understood from its head."""
ELF = "elf:"
"""Prefix of an executable; what follows is the loader's path, or nothing for a static program."""

_MACHINE_X86_64 = 62
_PT_INTERP = 3
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")


def inspect(head: bytes) -> str:
    """`elf:<loader>`, `elf:`, `script` or `foreign`, from the first `HEAD` bytes of a file."""
    if head.startswith(b"#!"):
        return SCRIPT
    if len(head) < 64 or not head.startswith(b"\x7fELF\x02\x01"):
        return FOREIGN
    (kind, machine) = struct.unpack_from("<HH", head, 16)
    (offset,) = struct.unpack_from("<Q", head, 32)
    (size, count) = struct.unpack_from("<HH", head, 54)
    if kind not in {2, 3} or machine != _MACHINE_X86_64 or size != _PROGRAM_HEADER.size:
        return FOREIGN
    if offset + size * count > len(head):
        return FOREIGN
    for index in range(count):
        segment, _, start, _, _, length, _, _ = _PROGRAM_HEADER.unpack_from(head, offset + index * size)
        if segment == _PT_INTERP:
            return _loader(head[start : start + length], length)
    return ELF


def _loader(raw: bytes, length: int) -> str:
    path = raw.rstrip(b"\x00")
    if len(raw) != length or not path.startswith(b"/") or not path.isascii() or not path.decode().isprintable():
        return FOREIGN
    return ELF + path.decode()
