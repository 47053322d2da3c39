"""How Sphinx builds the documentation: Markdown pages, and the reference from the docstrings.

Nothing is fetched while it builds, so that it builds anywhere.
"""

from __future__ import annotations

import agentwire

project = "agentwire"
author = "agentwire contributors"
copyright = "2026, agentwire contributors"  # noqa: A001 - the name that Sphinx reads
release = agentwire.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib_trio"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

autodoc_class_signature = "separated"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"agentwire {release}"
