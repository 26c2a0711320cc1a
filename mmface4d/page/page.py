"""A report as one HTML file in the project's common style."""

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

from mmface4d import __version__
from mmface4d.files import atomic_path
from mmface4d.page.markup import escape


def write_page(path: Path, *, title: str, subtitle: str, parts: Iterable[str]) -> None:
    """Writes a page of some parts, which are HTML (empty ones are left out); title and subtitle are plain texts."""
    template = Template(files("mmface4d.page").joinpath("template.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        body="\n".join(part for part in parts if part),
        footer=f"Made by mmface4d {__version__}.",
    )
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")  # a file name need not be valid text
