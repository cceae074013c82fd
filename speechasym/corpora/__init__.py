"""Corpora as lhotse manifests: one function `prepare(root, ...) -> Corpus` for each.

To add a corpus, write one file with such a function and add one line to `CORPORA`.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from speechasym.corpora import librispeech, manifests, mini, timit
from speechasym.corpora.manifests import Corpus, Manifests
from speechasym.corpora.report import Report
from speechasym.errors import ConfigError, CorpusError

__all__ = ["CORPORA", "Corpus", "CorpusError", "Manifests", "Prepared", "Report", "prepare"]

CORPORA: dict[str, Callable[..., Corpus]] = {
    "timit": timit.prepare,
    "librispeech": librispeech.prepare,
    "mini": mini.prepare,
}


class Prepared(NamedTuple):
    """What was written."""

    corpus: Corpus
    out: Path
    files: list[Path]

    @property
    def text(self) -> str:
        """The report, to be printed."""
        return self.corpus.report.text()


def prepare(
    name: str, root: str | Path, out: str | Path, strict: bool = False, **options: Any
) -> Prepared:
    """Prepare a corpus: read its files below `root`, write manifests and a report to `out`.

    Written are SET_recordings.jsonl.gz, SET_supervisions.jsonl.gz and SET_cuts.jsonl.gz for each
    set, report.txt and report.json; `common.write` says how.

    Args:
        name: one of `CORPORA`.
        root: the corpus's folder.
        out: the folder for what is written, made if need be.
        strict: raise an error, and write nothing, if the report has errors.
        options: those of the corpus's own function.

    Raises:
        CorpusError: nothing to prepare there, or errors where strict.
        ConfigError: no such corpus or option, or an option's value is wrong.
        OutputError: `out` cannot be written.

    Example:
        >>> print(corpora.prepare("timit", "TIMIT", "out/timit").text)
    """
    if name not in CORPORA:
        raise ConfigError("corpus", f"{name!r} is not known", f"Use one of {', '.join(CORPORA)}")
    allowed = [key for key in inspect.signature(CORPORA[name]).parameters if key != "root"]
    if unknown := sorted(set(options) - set(allowed)):
        raise ConfigError(
            unknown[0], f"no option of {name}", f"Its options are {', '.join(allowed)}"
        )
    folder = manifests.check_writable(out)
    corpus = CORPORA[name](root, **options)
    if strict:
        corpus.report.check(root)
    return Prepared(corpus, folder, manifests.write(corpus, folder))
