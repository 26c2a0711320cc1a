"""The mini set: a few sequences of each split, every component, to try code on before the whole is fetched."""

from collections import Counter
from collections.abc import Iterator

from corpus.release.layout import SPLITS, FileRow
from corpus.release.reader import Release, ReleaseItem
from corpus.release.shards import copy_members

MOST_BYTES = 900_000_000
ITEMS_A_SPLIT = 2


def write_mini(release: Release) -> None:
    """Writes `mini/COMPONENT/COMPONENT-mini-000000.tar` and what is in them."""
    chosen = list(mini_items(release))
    for component in release.record.components:
        rows = [row for row in rows_of(release, chosen) if row.component == component]
        if rows:
            copy_members(release.path, release.path / "mini", rows, shard=f"{component}/{component}-mini-000000.tar")
    lines = [f"- {item.id} ({item.row.split}; {item.row.components})" for item in chosen]
    text = (
        "# Mini set\n\nCopies of files of these sequences, under the same names; the index is the whole release's.\n\n"
    )
    folder = release.path / "mini"
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


def mini_items(release: Release) -> Iterator[ReleaseItem]:
    """Per split the sequences with most components, of different subjects where there are, as long as there is room."""
    left = MOST_BYTES
    sizes: Counter[str] = Counter()
    for row in release.files:
        sizes[row.id] += row.bytes
    for split in SPLITS:
        seen: set[str] = set()
        count = 0
        for item in sorted(release.items(split), key=_best_first):
            again = len(release.splits[split]) > 1 and item.row.subject in seen
            size = sizes[item.id]
            if count < ITEMS_A_SPLIT and size <= left and not again:
                left, count = left - size, count + 1
                seen.add(item.row.subject)
                yield item


def _best_first(item: ReleaseItem) -> tuple[int, str]:
    return -len(item.row.components.split()), item.id


def rows_of(release: Release, items: list[ReleaseItem]) -> list[FileRow]:
    """Every file of some items."""
    wanted = {item.id for item in items}
    return [row for row in release.files if row.id in wanted]
