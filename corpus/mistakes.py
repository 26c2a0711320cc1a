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
    """What was found so far."""

    found: list[Mistake] = field(default_factory=list)

    def add(self, path: Path, line: int, text: str) -> None:
        """Notes a mistake."""
        self.found.append(Mistake(path, line, text))

    def refuse(self, *, hint: str) -> None:
        """Raises InputError with every mistake (the first 20 of them), where there is one."""
        if self.found:
            raise InputError(self.told(), hint=hint)

    def told(self) -> str:
        """The mistakes, a line each, file by file."""
        if len(self.found) == 1:
            (only,) = self.found
            return f"{only.path}, line {only.line}: {only.text}"
        paths = list(dict.fromkeys(mistake.path for mistake in self.found))
        first = f"{paths[0]} has" if len(paths) == 1 else f"{len(paths)} files have"
        lines = [f"{first} {len(self.found)} mistakes:"]
        for mistake in self.found[:MOST_TOLD]:
            where = "" if len(paths) == 1 else f"{mistake.path}, "
            lines.append(f"  {where}line {mistake.line}: {mistake.text}")
        if len(self.found) > MOST_TOLD:
            lines.append(f"  and {len(self.found) - MOST_TOLD} more")
        return "\n".join(lines)


def quoted(text: object) -> str:
    """A piece of a file as a message may show it: short, on one line, without control characters."""
    short = str(text)
    return repr(short if len(short) <= 40 else short[:37] + "...")
