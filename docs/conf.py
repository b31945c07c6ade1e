"""Sphinx settings. The pages need nothing from the network, neither to build nor to read."""

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

import flowkit

sys.path.insert(0, str(Path(__file__).parent))
import api
import figures
import gallery
import lessons

figures.write()
api.write()
gallery.write()
lessons.write()

project = "flowkit"
author = copyright = "The flowkit authors"
version = release = flowkit.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "jupyter_execute", "records"]
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
nb_execution_mode = "off"  # what a notebook shows is what was stored when it ran, at the size that it names
html_theme = "furo"
html_title = f"flowkit {release}"
html_static_path = ["_static"]
html_css_files = ["flowkit.css"]
html_math_renderer = "mathml"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80


def _math(writer: Any, node: nodes.Element, display: str) -> None:
    """A formula as MathML, which browsers draw themselves: no script, no fonts from elsewhere."""
    formula = convert(node.astext(), display=display)
    formula = re.sub(r"(<mi>(?:log|ln|exp)</mi>)(?=<m[irs])", r'\1<mspace width="0.17em"/>', formula)  # log q, not logq
    writer.body.append(f'<div class="math">{formula}</div>' if display == "block" else formula)
    raise nodes.SkipNode


def _literal(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings here are aligned plain text with the formula first; they are shown as they are written."""
    text = [line.rstrip() for line in lines]
    while text and not text[-1]:
        text.pop()
    if text:
        lines[:] = [".. code-block:: text", "", *(f"   {line}" for line in text), ""]


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer(
        "mathml",
        (lambda writer, node: _math(writer, node, "inline"), None),
        (lambda writer, node: _math(writer, node, "block"), None),
    )
    app.connect("autodoc-process-docstring", _literal)
