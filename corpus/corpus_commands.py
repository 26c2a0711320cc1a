"""`mmface4d corpus build|stats|script`."""

from pathlib import Path

import click

PATH = click.Path(path_type=Path)
CORPUS_EPILOG = """\b
Examples:
  mmface4d corpus stats corpus.jsonl --html report.html
  mmface4d corpus script corpus.jsonl --actors 50 -o scripts
"""


@click.group(epilog=CORPUS_EPILOG)
def corpus() -> None:
    """Choose sentences, look at them, and make a script for each actor."""
