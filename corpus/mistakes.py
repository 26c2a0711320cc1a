"""Everything that is wrong with files that people wrote, said at once."""

from dataclasses import dataclass, field
from pathlib import Path

from mmface4d.errors import InputError

MOST_TOLD = 20


@dataclass(frozen=True)
class Mistake:
    """A line of a file, from 1, and what is wrong there."""

    path: Path
    line: int
    text: str


@dataclass
class Mistakes:
    """What was found so far: how many, in which files, and the first of them."""

    first: list[Mistake] = field(default_factory=list)
    paths: set[Path] = field(default_factory=set)
    count: int = 0

    def add(self, path: Path, line: int, text: str) -> None:
        """Notes a mistake; a file of millions of them must not fill the memory."""
        self.count += 1
        self.paths.add(path)
        if len(self.first) < MOST_TOLD:
            self.first.append(Mistake(path, line, text))

    def refuse(self, *, hint: str) -> None:
        """Raises InputError with every mistake (the first 20 of them), where there is one."""
        if self.count:
            raise InputError(self.told(), hint=hint)

    def told(self) -> str:
        """The mistakes, a line each."""
        if self.count == 1:
            (only,) = self.first
            return f"{only.path}, line {only.line}: {only.text}"
        is_one = len(self.paths) == 1
        lines = [f"{self.first[0].path} has" if is_one else f"{len(self.paths)} files have"]
        lines[0] += f" {self.count} mistakes:"
        for mistake in self.first:
            where = "" if is_one else f"{mistake.path}, "
            lines.append(f"  {where}line {mistake.line}: {mistake.text}")
        if self.count > MOST_TOLD:
            lines.append(f"  and {self.count - MOST_TOLD} more")
        return "\n".join(lines)


def quoted(text: object) -> str:
    """A piece of a file as a message may show it: short, on one line, without control characters."""
    short = str(text)
    return repr(short if len(short) <= 40 else short[:37] + "...")
