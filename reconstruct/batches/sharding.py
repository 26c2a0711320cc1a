"""A part of a batch: `3/8` is the third of eight, the same wherever it is asked for, while no take comes or goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mmface4d.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Number `index`, from 1, of `count` shards."""

    index: int
    count: int

    def of(self, items: Sequence[T]) -> list[T]:
        """Every `count`-th item; all shards together have each item once."""
        return list(items[self.index - 1 :: self.count])


def parse_shard(text: str) -> Shard:
    """Reads `i/n`; raises UsageError where that is none."""
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard {text!r} is no shard", hint="write i/n, counted from 1: --shard 1/8 to --shard 8/8")
    return Shard(int(index), int(count))
