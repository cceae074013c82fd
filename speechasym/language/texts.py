"""Plain texts and books -> sentences of words, in the spelling of LibriSpeech's transcripts."""

import gzip
import logging
import re
import unicodedata
import zlib
from pathlib import Path

from speechasym.errors import TextError

_log = logging.getLogger(__name__)


# what LibriSpeech's transcripts have in their place
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
    r"|(\s*[IVXLC]+\.[ \t].{0,60})+|[IVXLC\d]+\.?|\W*(?i:the\s+end|finis)\W*",
)
_DIGIT = re.compile(r"\d")
_BEGIN = re.compile(r"^\*+\s*START OF TH.*$|^\*+END.*SMALL PRINT.*$", re.MULTILINE)
_FINISH = re.compile(r"^[*\s]*END OF (?:THE |THIS )?PROJECT GUTENBERG.*", re.I | re.M | re.S)
_PLAIN = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u02bc": "'", "`": "'", "\u201c": '"', "\u201d": '"',
     "_": "", "&": " and ", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ß": "ss"}
)  # fmt: skip


def words_of_text(text: str) -> list[list[str]]:
    """Sentences of a plain book, as words of A to Z and apostrophes: LibriSpeech's spelling.

    - What is before and after the book, by Project Gutenberg's marks, is dropped; so are headings:
      CHAPTER IV, roman or other numbers alone, contents by roman numbers, and paragraphs of up to
      12 words all in capitals.
    - A sentence ends at . ! or ? where a capital or a number follows; a paragraph ends it too.
    - Abbreviations of titles are written out, initials do not end a sentence.
    - Signs go; dashes and hyphens part words. Apostrophes stay inside words only: quotes, and
      those of JAMES' and 'TIS, go. Accents go, & is AND.
    - A sentence with digits is left out: how they were spoken is not known.
    - Where there are no small letters at all, the text is a transcript or a list of words: each
      line is a sentence.
    """
    if text == text.upper():
        lines = (
            _WORD.findall(line) for line in _plain(text).split("\n") if not _DIGIT.search(line)
        )
        return [words for words in lines if words]
    if end := _FINISH.search(text):
        text = text[: end.start()]
    for begin in list(_BEGIN.finditer(text))[-1:]:
        text = text[begin.end() :]
    sentences = []
    left_out = 0
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        plain = _plain(paragraph).strip()
        if _HEADING.fullmatch(plain) or (plain == plain.upper() and len(plain.split()) <= 12):
            continue
        plain = _SHORT.sub(lambda match: ABBREVIATIONS[match[1].upper()].capitalize(), plain)
        for sentence in _SENTENCE.split(_INITIAL.sub(r"\1", plain)):
            if _DIGIT.search(sentence):
                left_out += 1
            elif words := _WORD.findall(sentence.upper()):
                sentences.append(words)
    _log.info("%d sentences, %d left out for their digits", len(sentences), left_out)
    return sentences


def _plain(text: str) -> str:
    """Plain quotes, no accents."""
    parted = unicodedata.normalize("NFKD", text.translate(_PLAIN))
    return "".join(sign for sign in parted if not unicodedata.combining(sign))


def read_text(path: str | Path) -> list[list[str]]:
    """`words_of_text` of a file in UTF-8 or Latin-1, packed if it ends in .gz.

    Raises:
        TextError: it cannot be read, or has no words.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        why = (isinstance(error, OSError) and error.strerror) or str(error)
        raise TextError(path, f"cannot be read ({why})", "Check the path") from error
    if 0 in raw:
        raise TextError(path, f"byte {raw.index(0)} is not text", "Give a plain text")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    sentences = words_of_text(text)
    if not sentences:
        raise TextError(path, "has no sentences of words", "Give a plain text")
    return sentences
