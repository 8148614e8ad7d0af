"""The chain that makes an audit verifiable: what one write adds is a block, and each block names the one before.

A block is every byte between two chain lines. The chain line that closes it says its number, how many lines of audit
there are up to and with this one, the hash of the block before (`prev`) and its own: SHA-256 over these three and the
SHA-256 of the block's bytes. So nothing in a file can be changed, taken out, put in or moved without a hash that does
not fit, as far as the last hash, the head, is known from elsewhere: who can write the file can write another chain.

A chain line has exactly one spelling, so nothing can hide in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Final, Self

GENESIS: Final = "0" * 64
"""What the first block names as the one before."""
TORN: Final = b" #torn\n"
"""Put behind half a line that a killed writer left. No other line ends so: each ends with `}`."""

_LINE: Final = re.compile(
    rb'\{"event":"chain","block":([1-9][0-9]{0,17}),"lines":([1-9][0-9]{0,17}),"prev":"([0-9a-f]{64})",'
    rb'"hash":"([0-9a-f]{64})"\}\n'
)
BEGIN: Final = b'{"event":"chain",'
"""How each chain line begins, and no other line."""
MAX_CHAIN_LINE: Final = 256
"""Bytes, more than any has."""


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """How far a chain has come: what its last chain line says."""

    block: int = 0
    """Blocks so far."""
    lines: int = 0
    """Lines so far, chain lines among them."""
    head: str = GENESIS
    """Hash of the last block, hexadecimal."""

    def following(self, lines: int, digest: bytes) -> Link:
        """The link behind a block of so many lines (without its chain line), with the SHA-256 of its bytes."""
        block, total = self.block + 1, self.lines + lines + 1
        said = f"housekeeper-audit {block} {total} {self.head} {digest.hex()}"
        return Link(block, total, hashlib.sha256(said.encode()).hexdigest())

    def line(self, before: Self) -> bytes:
        """The chain line that says so. `before`: the link of the block before."""
        return (
            f'{{"event":"chain","block":{self.block},"lines":{self.lines},"prev":"{before.head}","hash":"{self.head}"}}\n'
        ).encode()


@dataclasses.dataclass(frozen=True, slots=True)
class ChainLine:
    """A chain line as it was read."""

    link: Link
    prev: str


def read_chain_line(line: bytes) -> ChainLine | None:
    """The chain line that `line`, with its newline, is; None if it is another or is not spelled as one is."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    block, lines, prev, head = match.groups()
    return ChainLine(Link(int(block), int(lines), head.decode()), prev.decode())
