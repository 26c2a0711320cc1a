"""Sphinx settings; `make docs` builds the pages."""

from mmface4d import __version__

project = "mmface4d"
copyright = "2026, the mmface4d developers"  # noqa: A001  (Sphinx's name for it)
release = __version__
extensions = ["myst_parser"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"mmface4d {__version__}"
exclude_patterns = ["dev", "images"]
