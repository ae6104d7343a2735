"""How `make docs` builds the manual: the pages of this folder, and an API reference from the docstrings."""

import ast
import importlib.metadata
import inspect
import re
import textwrap
from typing import Any

from docutils import nodes  # type: ignore[import-untyped]
from sphinx import addnodes
from sphinx.application import Sphinx

project = "celebahq-toolkit"
release = importlib.metadata.version("celebahq-toolkit")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
default_role = "code"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

ARRAY = re.compile(r"ndarray\[tuple\[Any, \.\.\.\], dtype\[(\w+)\]\]")

FIELDS: dict[str, list[str]] = {}


def written_signature(
    app: Sphinx, what: str, name: str, subject: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Annotations as they are written: `ArrayLike`, say, rather than the ten types that it stands for."""
    function = subject.__init__ if what == "class" else subject
    if what not in ("function", "method", "class") or not inspect.isfunction(function):
        return None
    try:
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except OSError:  # of a dataclass, which wrote it itself
        return None
    assert isinstance(node, ast.FunctionDef)
    first = node.args.posonlyargs or node.args.args
    if what != "function" and first and first[0].arg in ("self", "cls"):
        del first[0]
    return f"({ast.unparse(node.args)})", ast.unparse(
        node.returns
    ) if node.returns and what != "class" else ""


def keep_fields(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    """Put aside what a field's docstring says: Napoleon takes what stands before a colon for its type."""
    if what == "attribute":
        FIELDS[name] = lines[:]


def restore_fields(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    """Put it back after Napoleon."""
    lines[:] = FIELDS.get(name, lines)


def shorten_arrays(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """`NDArray[float64]`, as it is written, for what it stands for."""
    for kind in (addnodes.desc_annotation, addnodes.desc_parameter):
        for node in list(doctree.findall(kind)):
            text = ARRAY.sub(r"NDArray[\1]", node.astext())
            if text != node.astext():
                node[:] = [nodes.Text(text)]


def link_cards(app: Sphinx, page: str, source: list[str]) -> None:
    """The networks' cards lie beside their weights; here they are pages."""
    source[0] = source[0].replace("](../celebahq/restore/weights/", "](cards/")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-signature", written_signature)
    app.connect("autodoc-process-docstring", keep_fields, priority=400)  # Napoleon has 500
    app.connect("autodoc-process-docstring", restore_fields, priority=600)
    app.connect("source-read", link_cards)
    app.connect("doctree-resolved", shorten_arrays)
