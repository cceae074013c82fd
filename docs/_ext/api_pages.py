"""Pages of the reference, one for each public name, written from `speechasym.__all__`."""

import inspect
import re
from pathlib import Path
from typing import Any

import speechasym

GROUPS = {
    "Recordings": ["load", "add_noise", "segments", "segment_files"],
    "Features": ["features", "extract", "read_features", "functionals", "spectrogram", "Gammatone",
                 "GammatoneSpectrogram", "export_onnx"],
    "Asymmetry": ["Asymmetry", "hysteresis", "noise_test"],
    "Levels": ["Hierarchy", "RankActivation"],
    "Corpora and training": ["prepare", "read_config", "train"],
    "Recognition": ["Recogniser", "transcribe", "transcribe_files", "transcribe_live", "align",
                    "activations", "discover_units", "discover_files", "make_lexicon",
                    "estimate_lm", "models", "install_model"],
    "Scoring": ["evaluate", "score", "abx"],
    "Pictures and pages": ["plot", "plot_files", "plot_run", "explore", "write_report",
                           "write_recording_report"],
    "Installation": ["check_installation"],
}  # fmt: skip
INTRODUCTION = """\
Reference
=========

Every public name of the package ``speechasym``, with an example that the tests run. In the
examples, ``speech.wav`` is a recording of 3 s in which is said *he was not an ill disposed young
man*; ``x, rate = speechasym.load("speech.wav", 16000)``; ``np`` is numpy and ``nn`` is
``torch.nn``. Where a run of one's own is needed, ``run`` was trained on a language of tones that
has three words. Names that are not listed here may change without notice.

.. currentmodule:: speechasym

"""


def groups() -> dict[str, list[str]]:
    """{title: public names}, each name once; those without a group come last."""
    named = {name for names in GROUPS.values() for name in names}
    rest = [name for name in speechasym.__all__ if name not in named]
    errors = [name for name in rest if name.endswith("Error")]
    others = [name for name in rest if name not in errors]
    return GROUPS | ({"Others": others} if others else {}) | {"Errors": errors}


def directive(name: str) -> str:
    """The directive of autodoc that describes a public name."""
    value = getattr(speechasym, name)
    if inspect.ismodule(value):
        return (
            f".. py:module:: speechasym.{name}\n\n"
            f".. automodule:: {value.__name__}\n   :members:\n"
            "   :exclude-members: extra_repr, reset\n"
        )
    if inspect.isclass(value):
        members = "" if issubclass(value, Exception) else (
            "   :members:\n   :exclude-members: extra_repr, reset\n"
        )  # fmt: skip
        return f".. autoclass:: speechasym.{name}\n{members}"
    return f".. autofunction:: speechasym.{name}\n"


def results() -> list[type]:
    """The package's own classes that public functions return, or iterate over."""
    classes = set()
    for name in speechasym.__all__:
        value = getattr(speechasym, name)
        signatures = [value] if inspect.isfunction(value) else []
        if name == "Recogniser":
            signatures = [v for v in vars(value).values() if inspect.isfunction(v)]
        for function in signatures:
            text = str(inspect.signature(function).return_annotation)
            for module, _, kind in re.findall(r"(speechasym(\.\w+)+)\.([A-Z]\w+)", text):
                classes.add(getattr(__import__(module, fromlist=[kind]), kind))
    return sorted(classes - {getattr(speechasym, n) for n in speechasym.__all__
                             if inspect.isclass(getattr(speechasym, n))},
                  key=lambda c: c.__name__)  # fmt: skip


def methods(kind: type) -> str:
    """The option of autodoc for the public methods of a class that have a docstring."""
    names = [
        name
        for name, value in vars(kind).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, property))
        and value.__doc__
    ]
    return f"   :members: {', '.join(names)}\n" if names else ""


def fields(kind: type) -> str:
    """A list of the fields of a class, described by the comments beside them or above."""
    text, above = "", ""
    for line in inspect.getsource(kind).splitlines():
        if match := re.match(r"    (\w+): ([^=#]+?)(?: = [^#]*)?(?: +# (.*))?$", line):
            name, annotation, comment = match.groups()
            said = " ".join(part for part in (above, comment) if part).replace("|", "\\|")
            text += f"   - **{name}** (``{annotation}``){': ' + said if said else ''}\n"
        comment_above = re.match(r"    # (.*)", line)
        above = f"{above} {comment_above[1]}".strip() if comment_above else ""
        if line.startswith("    def "):
            break
    return text + "\n"


def pages() -> dict[str, str]:
    """{file: text} of the reference."""
    index, files, below = INTRODUCTION, {}, []
    for title, names in groups().items():
        index += f"{title}\n{'-' * len(title)}\n\n.. autosummary::\n   :nosignatures:\n\n"
        index += "".join(f"   {name}\n" for name in names) + "\n"
        if title == "Errors":
            text = "Errors\n======\n\n" + "\n".join(directive(name) for name in names)
            files["errors.rst"] = text
            below.append("errors")
            continue
        for name in names:
            files[f"{name}.rst"] = (
                f"{name}\n{'=' * len(name)}\n\n{directive(name)}\n"
                f".. minigallery:: speechasym.{name}\n   :add-heading: In the gallery\n"
            )
            below.append(name)
    files["results.rst"] = (
        "What functions return\n=====================\n\n"
        "Objects that public functions return. Their classes are not to be made by hand.\n\n"
    ) + "\n".join(
        f".. autoclass:: {c.__module__}.{c.__name__}\n{methods(c)}\n{fields(c)}" for c in results()
    )  # fmt: skip
    tree = "".join(f"   {name}\n" for name in [*below, "results"])
    files["index.rst"] = index + f".. toctree::\n   :hidden:\n\n{tree}"
    return files


def write(app: Any) -> None:
    """Write the pages that are not there, or changed; remove those of names that are gone."""
    folder = Path(app.srcdir) / "docs" / "api"
    folder.mkdir(exist_ok=True)
    files = pages()
    for path in folder.glob("*.rst"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Tables of Markdown in docstrings as tables of reStructuredText."""
    text = "\n".join(lines)
    text = re.sub(r"(?:^\|.*\|$\n?)+", table, text, flags=re.M)
    text = re.sub(r"(?m)^(\[\d+\] .*)\n    (\S)", r"\1 \2", text)  # sources: a paragraph each
    text = re.sub(r"(?m)^(\[\d+\] .*)\n(?=\[\d+\] )", r"\1\n\n", text)
    text = re.sub(r"\|(\w+)\|", r"\\|\1\\|", text)  # |z| is not a substitution
    lines[:] = text.split("\n")


def table(match: re.Match) -> str:
    """A list-table of the rows of a table of Markdown."""
    rows = [line.strip("| ").split(" | ") for line in match[0].splitlines()]
    out = ".. list-table::\n   :header-rows: 1\n\n"
    for cells in rows:
        if set("".join(cells)) <= set("-| "):
            continue
        out += "".join(
            f"   {'*' if not k else ' '} - {cell.strip()}\n" for k, cell in enumerate(cells)
        )
    return out + "\n"


def signature(
    app: Any, what: str, name: str, value: Any, options: Any, arguments: str, result: str
) -> tuple[str, str] | None:
    """Say what a function returns, in short."""
    if isinstance(value, type) and issubclass(value, speechasym.SpeechAsymError):
        return None if value is speechasym.SpeechAsymError else ("", "")
    if what == "class":
        public = name.rpartition(".")[2] in speechasym.__all__ or "hysteresis" in name
        return None if public else ("", "")  # results are not made by hand
    if what not in ("function", "method"):
        return None
    try:
        annotation = inspect.signature(value).return_annotation
    except (TypeError, ValueError):
        return None
    if annotation in (inspect.Signature.empty, None, "None"):
        return None
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"numpy\.ndarray\[.*?\]\]", "ndarray", text)
    return arguments, re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", write, priority=100)
    app.connect("autodoc-process-docstring", docstring, priority=100)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
