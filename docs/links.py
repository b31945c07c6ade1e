"""Links from the names of flowkit, wherever a page writes one as code, to where they are documented."""

import re

from docutils import nodes
from sphinx.application import Sphinx


def targets(app: Sphinx) -> dict[str, tuple[str, str]]:
    """(page, anchor) by what a text may write: "fk.Trainer", "fk.train.Trainer", and "Trainer" where it has a capital.

    Methods are known with their class, as "Trainer.fit".
    """
    found: dict[str, tuple[str, str]] = {}
    for path, entry in app.env.domains["py"].data["objects"].items():
        place = entry.docname, entry.node_id
        short = path.removeprefix("flowkit.")
        found.setdefault(f"fk.{short}", place)
        name = re.search(r"(?:^|\.)(_?[A-Z]\w*(?:\.\w+)?|\w+)$", short)
        if name and (name[1][0].isupper() or "_" in name[1]):
            found.setdefault(name[1], place)
    return found


def add(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Wrap each name that stands as code, or in single quotes of a docstring, in a link."""
    known = getattr(app, "flowkit_targets", None)
    if known is None:
        known = app.flowkit_targets = targets(app)
    for kind in (nodes.literal, nodes.title_reference):
        for node in [*doctree.findall(kind)]:
            text = re.sub(r"\(.*\)$", "", node.astext()).replace("flowkit.", "fk.")
            if text not in known or _inside(node):
                continue
            document, anchor = known[text]
            uri = app.builder.get_relative_uri(page, document) if document != page else ""
            code = nodes.literal("", node.astext(), classes=["xref", "py"])
            node.replace_self(nodes.reference("", "", code, internal=True, refuri=f"{uri}#{anchor}"))


def _inside(node: nodes.Node) -> bool:
    """Whether a node is part of a link or a heading already."""
    while node.parent is not None:
        node = node.parent
        if isinstance(node, (nodes.reference, nodes.title)):
            return True
    return False
