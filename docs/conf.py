"""Sphinx settings. The pages need nothing from the network, neither to build nor to read."""

import sys
from pathlib import Path

import flowkit

sys.path.insert(0, str(Path(__file__).parent))
import figures

figures.write()

project = "flowkit"
author = copyright = "The flowkit authors"
version = release = flowkit.__version__
extensions = ["myst_nb"]
exclude_patterns = ["_build", "records"]
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
html_theme = "furo"
html_title = f"flowkit {release}"
