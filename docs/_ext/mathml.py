"""Formulas as MathML, by docutils' own converter: they need no script and no other host."""

from typing import Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.util import logging


def convert(node: Any, display: bool) -> str:
    """The MathML of a formula; one that cannot be converted is a warning, and shown as it is."""
    formula = node.astext().replace(r"\dots", r"\ldots")
    try:
        return latex2mathml.tex2mathml(formula, as_block=display)
    except MathError as error:
        logging.getLogger(__name__).warning("%s: %s", error, formula, location=node)
        return f"<code>{nodes.unescape(formula)}</code>"


def inline(translator: Any, node: Any) -> None:
    translator.body.append(convert(node, display=False))
    raise nodes.SkipNode


def block(translator: Any, node: Any) -> None:
    translator.body.append(f'<div class="math">{convert(node, display=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
