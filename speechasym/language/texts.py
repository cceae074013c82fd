"""Sentences of words from plain texts and books, in the spelling of LibriSpeech's transcripts."""

import logging
import re
from pathlib import Path

from speechasym import files
from speechasym.errors import TextError
from speechasym.language.letters import plain

_log = logging.getLogger(__name__)

# what LibriSpeech's transcripts write for them
ABBREVIATIONS = {
    "MR": "MISTER", "MRS": "MISSUS", "DR": "DOCTOR", "ST": "SAINT", "MESSRS": "MESSIEURS",
    "ESQ": "ESQUIRE", "ETC": "ET CETERA", "CAPT": "CAPTAIN", "COL": "COLONEL", "GEN": "GENERAL",
    "LIEUT": "LIEUTENANT", "PROF": "PROFESSOR", "REV": "REVEREND",
}  # fmt: skip
_INITIAL = re.compile(r"\b([A-HJ-Z])\.(?=\s)")  # of a name; "I." may well end a sentence
_SHORT = re.compile(rf"\b({'|'.join(map(str.capitalize, ABBREVIATIONS))}|etc)\b\.?(?!')")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_WORD = re.compile(r"[A-Z]+(?:'[A-Z]+)*")
_HEADING = re.compile(
    r"(?i:chapter|volume|book|part|canto|act|scene)\s+(?i:the\s+)?"
    r"([IVXLCivxlc]+|\d+|(?i:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|last))\b(?s:.{0,60})"
    r"|(\s*[IVXLC]+\.[ \t].{0,60})+|[IVXLC\d]+\.?|\W*(?i:the\s+end|finis)\W*"
)
_DIGIT = re.compile(r"\d")
# two letters and more, capitals or not, but no names such as Li
_ROMAN = re.compile(
    r"\b(?=[IVXLC]{2,}\b|[ivxlc]{2,}\b)(?i:C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))\b(?<=\w)"
)
_START = re.compile(r"^\*+\s*START OF TH.*$|^\*+END.*SMALL PRINT.*$", re.MULTILINE)
_END = re.compile(r"^[*\s]*END OF (?:THE |THIS )?PROJECT GUTENBERG.*", re.I | re.M | re.S)
_REPLACEMENTS = str.maketrans(
    {"\u201c": '"', "\u201d": '"', "_": "", "&": " and ",
     "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ß": "ss"}
)  # fmt: skip


def sentences_of(text: str) -> list[list[str]]:
    """Return the sentences of a book, as words of A to Z and apostrophes.

    - What is before and after the book, by Project Gutenberg's marks, is dropped; so are headings:
      CHAPTER IV, roman or other numbers alone, contents by roman numbers, and paragraphs of up to
      12 words all in capitals.
    - A sentence ends at . ! or ? if a capital or a number follows; a paragraph ends it too.
    - Abbreviations of titles are written out; initials do not end a sentence.
    - Punctuation is dropped; dashes and hyphens separate words. Apostrophes are kept only inside
      words: quotes, and those of JAMES' and 'TIS, are dropped. So are accents; & becomes AND.
    - A sentence with digits or Roman numerals (of two letters and more: not I, V) is left out: how
      they were spoken is unknown.
    - A text without lower case is a transcript or a list of words: each line is a sentence.
    """
    if text == text.upper():
        lines = [line for line in _simplify(text).split("\n") if not _DIGIT.search(line)]
        return [words for words in map(_WORD.findall, lines) if words]
    if end := _END.search(text):
        text = text[: end.start()]
    for start in list(_START.finditer(text))[-1:]:
        text = text[start.end() :]
    sentences = []
    left_out = 0
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        simple = _simplify(paragraph).strip()
        if _HEADING.fullmatch(simple) or (simple == simple.upper() and len(simple.split()) <= 12):
            continue
        simple = _SHORT.sub(lambda match: ABBREVIATIONS[match[1].upper()].capitalize(), simple)
        for sentence in _SENTENCE.split(_INITIAL.sub(r"\1", simple)):
            if _DIGIT.search(sentence) or _ROMAN.search(sentence):
                left_out += 1
            elif words := _WORD.findall(sentence.upper()):
                sentences.append(words)
    _log.info("%d sentences, %d left out for their numerals", len(sentences), left_out)
    return sentences


def _simplify(text: str) -> str:
    """Return text with straight quotes and without accents and ligatures."""
    return plain(text.translate(_REPLACEMENTS))


def read_sentences(path: str | Path) -> list[list[str]]:
    """Read the sentences of a text file in UTF-8 or Latin-1, gzipped or not.

    Raises:
        TextError: the file cannot be read, or has no words.
    """
    sentences = sentences_of(files.read_text(path, TextError, latin1=True))
    if not sentences:
        raise TextError(path, "has no sentences of words", "Give a plain text")
    return sentences
