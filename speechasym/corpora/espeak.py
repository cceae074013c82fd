"""Speech from text by espeak-ng, with the sample at which each word and phone begins.

The library is GPL-3: it comes with the extra `synth` (espeakng-loader) and is loaded through ctypes
when the first text is spoken, never before. espeak-ng keeps state from one utterance to the next
(the phase of its voice, its noise), so each is spoken by a fork of a process that has spoken none:
the same text, voice and version give the same samples, in any order.
"""

import ctypes
import os
import re
import warnings
from dataclasses import dataclass
from functools import cache
from itertools import count as counting
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.config import check_range
from speechasym.errors import SynthesisError

PAUSES = frozenset({"_", "_:", "_!", "_|"})  # phones of no sound

# names and values of espeak-ng/speak_lib.h, version 1.52
_SYNCHRONOUS = 2
_PHONEME_EVENTS, _DONT_EXIT = 0x0001, 0x8000
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7
_RATE, _PITCH = 1, 3
_CHARACTERS, _UTF8 = 1, 1
_STRESS = "',%="  # marks before a vowel's mnemonic


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A voice of espeak-ng.

    Args:
        espeak: language and variant, such as "en-us+f1" or "gmw/en+m3".
        pitch: 0 to 100 of espeak's scale, whose middle is the variant's own pitch.
        words_per_minute: 80 to 450.
    """

    espeak: str
    pitch: int = 50
    words_per_minute: int = 175

    def __post_init__(self) -> None:
        check_range("pitch", self.pitch, "50", 0, 100)
        check_range("words_per_minute", self.words_per_minute, "175", 80, 450)


class Phone(NamedTuple):
    """A phone and where it begins."""

    sample: int
    mnemonic: str  # of espeak-ng, without its stress
    word: int  # index of the word it belongs to; -1 for a pause


class Spoken(NamedTuple):
    """Synthetic speech with its words and phones."""

    samples: NDArray[np.int16]  # (T,)
    sample_rate: int  # Hz
    words: list[str]
    phones: list[Phone]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms: `sample` rounded
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("mnemonic", ctypes.c_char * 8),  # of a phone, in a union with numbers of other events
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@cache
def engine() -> tuple[Any, int]:
    """Load and initialise the library, once a process; return it and its sample rate in Hz.

    Raises:
        SynthesisError: the library cannot be loaded, or this system cannot fork.
    """
    remedy = "pip install speechasym[synth] (espeakng-loader brings the library and its data)"
    if not hasattr(os, "fork"):
        raise SynthesisError("espeak-ng", "needs a system that can fork", "Use Linux or macOS")
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
    except (ImportError, OSError, RuntimeError) as error:
        raise SynthesisError("espeak-ng", f"cannot be loaded ({error})", remedy) from error
    rate = library.espeak_Initialize(
        _SYNCHRONOUS, 0, os.fsencode(data), _PHONEME_EVENTS | _DONT_EXIT
    )
    if rate <= 0:
        raise SynthesisError("espeak-ng", f"cannot be initialised with the data in {data}", remedy)
    return library, rate


def version() -> str:
    """Return espeak-ng's version, for example "1.52.0". Errors as `engine`."""
    info = engine()[0].espeak_Info
    info.restype = ctypes.c_char_p
    return info(None).decode().split(" ")[0]


def say(text: str, voice: Voice) -> Spoken:
    """Speak a sentence.

    Raises:
        SynthesisError: as `engine`, or espeak-ng does not have the voice or produces no sound.
    """
    _, rate = engine()
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_send_speech, args=(receiver, sender, text, voice))
    with warnings.catch_warnings():
        # Python 3.12 warns that the child of a process with threads may deadlock. This one only
        # calls espeak-ng, which has no threads when synchronous, and exits.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    sender.close()
    with receiver:
        try:
            speech = receiver.recv()
        except EOFError:
            speech = "its process died"
    child.join()
    if isinstance(speech, str):
        problem = f"espeak-ng produced no sound: {speech}"
        raise SynthesisError(f"{voice.espeak}: {text!r}", problem, "Try another voice")
    samples, starts, events, groups = speech
    words, word_of = _words(text, starts, groups)
    spoken = [mnemonic for _, mnemonic in events if mnemonic not in PAUSES]
    if spoken != [phone for group in groups for phone in group]:
        problem = f"its sound has other phones than its text: {spoken}"
        raise SynthesisError(repr(text), problem, "Use other words")
    numbers = iter(word_of)
    phones = [Phone(at, m, -1 if m in PAUSES else next(numbers)) for at, m in events]
    return Spoken(samples, rate, words, phones)


def _words(text: str, starts: list[int], groups: list[list[str]]) -> tuple[list[str], list[int]]:
    """Return the words, and the index of the word that each phone belongs to.

    espeak-ng speaks some pairs, such as "in the", as one word of its lexicon: one event, one group
    of phones. The second word is always "the", and has the group's last two phones.

    Args:
        starts: where in the text each group of phones begins.
        groups: the phones of each group.
    """
    matches = list(re.finditer(r"[\w']+", text))
    group_of = {start: number for number, start in enumerate(starts)}
    problem = SynthesisError(repr(text), "its phones do not match its words", "Use other words")
    if len(group_of) != len(groups) or not group_of.keys() <= {word.start() for word in matches}:
        raise problem
    word_of: list[int] = []
    for number, word in enumerate(matches):
        if word.start() in group_of:
            word_of += [number] * len(groups[group_of[word.start()]])
        elif word.group() == "the" and word_of[-3:] == [number - 1] * 3:
            word_of[-2:] = [number] * 2
        else:
            raise problem
    return [word.group() for word in matches], word_of


def _send_speech(receiver: Any, sender: Any, text: str, voice: Voice) -> None:
    receiver.close()  # otherwise sending would block if the parent has died
    sender.send(_speak(text, voice))


def _speak(text: str, voice: Voice) -> str | tuple[Any, ...]:
    """Return samples, starts and (sample, mnemonic) of phones, and their groups, or an error."""
    library, _ = engine()
    chunks: list[NDArray[np.int16]] = []
    starts: list[int] = []
    phones: list[tuple[int, str]] = []

    def collect(sound: Any, count: int, events: Any) -> int:
        if sound and count > 0:
            chunks.append(np.ctypeslib.as_array(sound, (count,)).astype("<i2"))
        for number in counting():
            event = events[number]
            if event.type == _END_OF_LIST:
                break
            if event.type == _WORD:
                starts.append(event.text_position - 1)
            elif event.type == _PHONEME:
                mnemonic = event.mnemonic.decode("utf-8", "replace")
                phones.append((event.sample, mnemonic.lstrip(_STRESS)))
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.espeak.encode()):
        return "no such voice"
    library.espeak_SetParameter(_PITCH, voice.pitch, 0)
    library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
    groups = _groups(library, text)
    encoded = text.encode() + b"\0"
    failed = library.espeak_Synth(
        encoded, ctypes.c_size_t(len(encoded)), 0, _CHARACTERS, 0, _UTF8, None, None
    )
    if failed or library.espeak_Synchronize():
        return f"error {failed}"
    return (np.concatenate(chunks), starts, phones, groups) if chunks else "no samples"


def _groups(library: Any, text: str) -> list[list[str]]:
    """Return the phones of each word, without pauses.

    The order of the events does not show them: the event of a word with a first vowel comes before
    the last n or l of the previous word.
    """
    translate = library.espeak_TextToPhonemes
    translate.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(text.encode())
    groups: list[list[str]] = []
    while rest.value:  # each call translates a clause
        clause = translate(ctypes.byref(rest), _UTF8, ord("\t") << 8).decode()
        for group in clause.split(" "):
            phones = [phone.lstrip(_STRESS) for phone in group.split("\t")]
            groups.append([phone for phone in phones if phone and phone not in PAUSES])
    return [group for group in groups if group]
