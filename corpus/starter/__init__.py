"""The corpus that comes with the project: sentences in Chinese and English with each of the seven emotions."""

from pathlib import Path


def starter_files() -> list[Path]:
    """The CSV files of the starter corpus, one a language."""
    return sorted(Path(__file__).parent.glob("*.csv"))
