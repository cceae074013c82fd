"""Corpora as lhotse manifests: one function `prepare(root, ...) -> Corpus` for each corpus.

To add a corpus, write a module with such a function and add a line to `CORPORA`.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from speechasym.corpora import folder, librispeech, manifests, timit
from speechasym.corpora.manifests import Corpus
from speechasym.corpora.mini import preparation
from speechasym.errors import ConfigError, CorpusError

__all__ = ["CORPORA", "Corpus", "CorpusError", "Prepared", "prepare"]

CORPORA: dict[str, Callable[..., Corpus]] = {
    "timit": timit.prepare,
    "librispeech": librispeech.prepare,
    "folder": folder.prepare,
    "mini": preparation.prepare,
}


class Prepared(NamedTuple):
    """A prepared corpus, and the files that were written."""

    corpus: Corpus
    out: Path
    files: list[Path]

    @property
    def text(self) -> str:
        """The report as text."""
        return self.corpus.report.text()


def prepare(
    corpus: str, root: str | Path, out: str | Path, strict: bool = False, **options: Any
) -> Prepared:
    """Read a corpus's files below `root`; write its lhotse manifests and a report to `out`.

    The files are SET_recordings.jsonl.gz, SET_supervisions.jsonl.gz and SET_cuts.jsonl.gz for each
    set, report.txt and report.json; see `manifests.write`.

    Args:
        corpus: name of the corpus, one of `CORPORA`.
        root: the corpus's folder.
        out: output folder, created if needed.
        strict: raise an error, and write nothing, if the report has errors.
        options: options of the corpus's own function.

    Raises:
        CorpusError: there is nothing to prepare, or the report has errors and `strict` is set.
        ConfigError: an unknown corpus or option, or an invalid value.
        OutputError: `out` cannot be written to.

    Example:
        >>> prepared = speechasym.prepare("folder", "recordings", "prepared")
        >>> print(prepared.text)
        folder: local split: one set
        ...
        train         2          2     0.06      7       -
        ...
    """
    if corpus not in CORPORA:
        raise ConfigError("corpus", f"{corpus!r} is unknown", f"Use one of {', '.join(CORPORA)}")
    allowed = [key for key in inspect.signature(CORPORA[corpus]).parameters if key != "root"]
    if unknown := sorted(set(options) - set(allowed)):
        remedy = f"Its options are {', '.join(allowed)}"
        raise ConfigError(unknown[0], f"not an option of {corpus}", remedy)
    folder = manifests.check_writable(out)
    prepared = CORPORA[corpus](root, **options)
    if strict:
        prepared.report.check(root)
    return Prepared(prepared, folder, manifests.write(prepared, folder))
