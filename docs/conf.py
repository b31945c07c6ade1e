"""Sphinx settings. The pages need nothing from the network, neither to build nor to read."""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import SystemMessage, new_document
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.ext.napoleon import NumpyDocstring

import flowkit

sys.path.insert(0, str(Path(__file__).parent))
import api
import charts
import figures
import gallery
import lessons
import links
import zoo

charts.write()
figures.write()
zoo.write()
api.write()
gallery.write()
lessons.write()

project = "flowkit"
author = copyright = "The flowkit authors"
version = release = flowkit.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
autosummary_generate = False
exclude_patterns = ["_build", "jupyter_execute", "records"]
myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath"]
suppress_warnings = ["ref.python"]  # several classes have an attribute of one name, which an annotation may name
nb_execution_mode = "off"  # what a notebook shows is what was stored when it ran, at the size that it names
nb_merge_streams = True  # prints of one cell stand in one box
html_theme = "furo"
html_title = f"flowkit {release}"
html_static_path = ["_static"]
html_css_files = ["flowkit.css"]
html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say what each argument is, in fewer words
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80


def _math(writer: Any, node: nodes.Element, display: str) -> None:
    """A formula as MathML, which browsers draw themselves: no script, no fonts from elsewhere."""
    text = re.sub(r"(?:\\[bB]igg?[lrm]?\s*)?\\([lr])angle", lambda m: "⟨" if m[1] == "l" else "⟩", node.astext())
    formula = convert(text.replace(r"\arg", r"\mathrm{arg}"), display=display)
    formula = re.sub(r"(<mi>(?:log|ln|exp)</mi>)(?=<m[irs])", r'\1<mspace width="0.17em"/>', formula)  # log q, not logq
    writer.body.append(f'<div class="math">{formula}</div>' if display == "block" else formula)
    raise nodes.SkipNode


def _escaped(lines: list[str]) -> Iterator[str]:
    """Shapes as [batch, *lattice] made code, and absolute values |x| made text, outside of formulas and examples."""
    formula = examples = False
    for line in lines:
        examples = examples or line.strip() == "Examples"
        formula = line.lstrip().startswith(".. ") or (formula and (not line.strip() or line.startswith(" ")))
        if not (formula or examples):
            parts = re.split(r"(``.*?``|:\w+:`.*?`)", line)
            plain = [re.sub(r"(\[[^\[\]`]*\*[^\[\]`]*\])", r"``\1``", part) for part in parts[::2]]
            parts[::2] = [part if "``" in part else re.sub(r"([|*])", r"\\\1", part) for part in plain]
            line = "".join(parts)
        yield line


def _valid(app: Sphinx, what: str, name: str, thing: object, options: object, text: list[str]) -> bool:
    """Whether a docstring is reStructuredText once napoleon has read it."""
    converted = "\n".join(NumpyDocstring(text, app.config, app, what, name, thing, options).lines())
    settings = get_default_settings(Parser)
    settings.report_level, settings.halt_level, settings.warning_stream, settings.env = 2, 2, io.StringIO(), app.env
    document = new_document(name, settings)
    try:
        Parser().parse(converted, document)
    except SystemMessage:
        return False
    return not any(document.findall(nodes.substitution_reference))  # |x| means an absolute value here


def _readable(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Make a docstring safe for napoleon: one that is no valid reStructuredText is shown as it is written.

    References are numbered in each docstring anew, so that their numbers are text here and no link targets.
    """
    text = [re.sub(r"\[(\d+)\]_", r"[\1]", re.sub(r"^( *)\.\. \[(\d+)\]", r"\1[\2]", line)).rstrip() for line in lines]
    while text and not text[-1]:
        text.pop()
    valid = _valid(app, what, name, thing, options, text)
    if not valid:
        again = list(_escaped(text))
        valid = _valid(app, what, name, thing, options, again)
        text = again if valid else text
    if not valid and what == "attribute":
        text = [re.sub(r"([\\*|`_:])", r"\\\1", line) for line in text]
    elif not valid:
        text = [".. code-block:: text", "", *(f"   {line}" for line in text), ""]
    if what in ("attribute", "data", "property"):  # of which napoleon reads the first line as "type: text"
        text.insert(0, "")
    lines[:] = text


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer(
        "mathml",
        (lambda writer, node: _math(writer, node, "inline"), None),
        (lambda writer, node: _math(writer, node, "block"), None),
    )
    app.connect("autodoc-process-docstring", _readable, priority=100)  # before napoleon
    app.connect("doctree-resolved", links.add)
