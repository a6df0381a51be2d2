"""What a kernel compiled for a GPU needs: numbers that the assembler left in its ELF file."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REGISTER_COUNT, FRAME_SIZE = 0x2F, 0x11
"""Attributes EIATTR_REGCOUNT and EIATTR_FRAME_SIZE of the section .nv.info."""

SIZED = 4
"""Format of an attribute that is followed by its size in bytes, and by its value."""


@dataclass(frozen=True)
class Needs:
    """A thread's 32-bit registers and bytes of stack, where spilled registers would lie; a block's shared bytes."""

    registers: int
    stack_bytes: int
    shared_bytes: int


def needs(path: Path) -> Needs:
    """The needs of the only kernel in a file."""
    sections = dict(_sections(path.read_bytes()))
    attributes = list(_attributes(sections[".nv.info"]))
    registers = [value[1] for kind, value in attributes if kind == REGISTER_COUNT]
    stacks = [value[1] for kind, value in attributes if kind == FRAME_SIZE]
    shared = [len(body) for name, body in sections.items() if name.startswith(".nv.shared.make_kernels")]
    return Needs(max(registers), max(stacks), sum(shared))


def _sections(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and bodies of the sections of an ELF file; a section that takes no room in the file is zeros."""
    (start,) = struct.unpack_from("<Q", data, 0x28)
    size, number, names_at = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, start + k * size) for k in range(number)]
    for name, kind, _, _, offset, length in headers:
        first = headers[names_at][4] + name
        body = bytes(length) if kind == 8 else data[offset : offset + length]
        yield data[first : data.index(b"\0", first)].decode(), body


def _attributes(body: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    at = 0
    while at < len(body):
        form, kind, size = struct.unpack_from("<BBH", body, at)
        at += 4
        if form == SIZED:
            yield kind, struct.unpack_from(f"<{size // 4}I", body, at)
            at += size
