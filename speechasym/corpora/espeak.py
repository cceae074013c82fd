"""Speech from text by espeak-ng, with the sample at which each word and phone begins.

The library is GPL-3: it comes with the extra `synth` (espeakng-loader) and is loaded through ctypes
when the first word is spoken, never before. espeak-ng keeps state from one utterance to the next
(the phase of its voice, its noise), so each is spoken by a fork of a process that has spoken none:
the same text, voice and version give the same samples, in any order.
"""

import ctypes
import json
import os
import re
import warnings
from dataclasses import dataclass
from functools import cache
from itertools import count as counting
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError, SynthesisError

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
    """How to speak.

    Args:
        espeak: language and variant, such as "en-us+f1" or "gmw/en+m3".
        pitch: 0 to 100 of espeak's scale, whose middle is the variant's own pitch.
        words_per_minute: 80 to 450.
    """

    espeak: str
    pitch: int = 50
    words_per_minute: int = 175

    def __post_init__(self) -> None:
        for name, low, high in (("pitch", 0, 100), ("words_per_minute", 80, 450)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, f"{value} is not in {low}..{high}", "Choose one that is")


class Phone(NamedTuple):
    """A phone's place in the sound."""

    sample: int  # where it begins
    mnemonic: str  # espeak's, without its stress
    word: int  # which of the words it belongs to; -1 for a pause


class Spoken(NamedTuple):
    """What was said."""

    samples: NDArray[np.int16]  # (T,)
    sample_rate: int  # Hz
    words: list[str]
    phones: list[Phone]


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_void_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms: `sample` rounded
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@cache
def engine() -> tuple[Any, int]:
    """The library, loaded and initialised once a process, and its sample rate in Hz.

    Raises:
        SynthesisError: it is not installed, cannot be loaded, or this system cannot fork.
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
    """espeak-ng's version, such as "1.52.0". Errors as `engine`."""
    about = engine()[0].espeak_Info
    about.restype = ctypes.c_char_p
    return about(None).decode().split(" ")[0]


def say(text: str, voice: Voice) -> Spoken:
    """Speak a sentence.

    Raises:
        SynthesisError: as `engine`; espeak-ng has no such voice, or gave no sound.
    """
    _, rate = engine()
    with warnings.catch_warnings():
        # of Python 3.12: the child of a process with threads may wait for one for ever. This one
        # calls espeak-ng only, which has no threads when synchronous, and ends.
        warnings.simplefilter("ignore", DeprecationWarning)
        end, begin = os.pipe()
        child = os.fork()
    if child == 0:
        os.close(end)  # or it would wait for ever to write to a parent that has died
        _speak_and_exit(begin, text, voice)
    os.close(begin)
    with os.fdopen(end, "rb") as pipe:
        head, _, sound = pipe.read().partition(b"\n")
    os.waitpid(child, 0)
    if not sound:
        reason = head.decode("utf-8", "replace") or "its process died"
        raise SynthesisError(
            f"{voice.espeak}: {text!r}", f"espeak-ng gave no sound: {reason}", "Try another voice"
        )
    found = json.loads(head)
    words, owners = _words(text, found["starts"], found["groups"])
    heard = [mnemonic for _, mnemonic in found["phones"] if mnemonic not in PAUSES]
    if heard != [phone for group in found["groups"] for phone in group]:
        raise SynthesisError(
            repr(text), f"its sound has other phones than its text: {heard}", "Use other words"
        )
    owner = iter(owners)
    phones = [Phone(at, m, -1 if m in PAUSES else next(owner)) for at, m in found["phones"]]
    return Spoken(np.frombuffer(sound, "<i2"), rate, words, phones)


def _words(text: str, starts: list[int], groups: list[list[str]]) -> tuple[list[str], list[int]]:
    """The words, and the word that each phone belongs to.

    espeak-ng says some pairs, such as "in the", as one word of its lexicon: one event, one group
    of phones. The second is always "the", and has the group's last two phones.

    Args:
        starts: where in the text each group of phones begins. groups: the phones of each.

    Raises:
        SynthesisError: the groups do not fit the words.
    """
    found = list(re.finditer(r"[\w']+", text))
    group_of = {start: number for number, start in enumerate(starts)}
    problem = SynthesisError(repr(text), "its phones do not fit its words", "Use other words")
    if len(group_of) != len(groups) or not group_of.keys() <= {w.start() for w in found}:
        raise problem
    owners: list[int] = []
    for number, word in enumerate(found):
        if word.start() in group_of:
            owners += [number] * len(groups[group_of[word.start()]])
        elif word.group() == "the" and owners[-3:] == [number - 1] * 3:
            owners[-2:] = [number] * 2
        else:
            raise problem
    return [word.group() for word in found], owners


def _speak_and_exit(pipe: int, text: str, voice: Voice) -> None:
    """In the child: a line of JSON and the samples, or a line that says why not; then the end.

    It leaves by `_exit`, so that nothing of the parent's (buffers, exit handlers) happens twice.
    """
    code = 1
    try:
        with os.fdopen(pipe, "wb") as file:
            file.write(_speak(text, voice))
        code = 0
    finally:
        os._exit(code)


def _speak(text: str, voice: Voice) -> bytes:
    library, _ = engine()
    chunks: list[bytes] = []
    starts: list[int] = []
    phones: list[tuple[int, str]] = []

    def collect(sound: Any, count: int, events: Any) -> int:
        if sound and count > 0:
            chunks.append(np.ctypeslib.as_array(sound, (count,)).astype("<i2").tobytes())
        for number in counting():
            event = events[number]
            if event.type == _END_OF_LIST:
                break
            if event.type == _WORD:
                starts.append(event.text_position - 1)
            elif event.type == _PHONEME:
                mnemonic = event.id.string.decode("utf-8", "replace")
                phones.append((event.sample, mnemonic.lstrip(_STRESS)))
        return 0

    callback = _Callback(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.espeak.encode()):
        return b"it has no such voice\n"
    library.espeak_SetParameter(_PITCH, voice.pitch, 0)
    library.espeak_SetParameter(_RATE, voice.words_per_minute, 0)
    groups = _groups(library, text)
    encoded = text.encode() + b"\0"
    failed = library.espeak_Synth(
        encoded, ctypes.c_size_t(len(encoded)), 0, _CHARACTERS, 0, _UTF8, None, None
    )
    if failed or library.espeak_Synchronize():
        return f"error {failed}\n".encode()
    head = json.dumps({"starts": starts, "phones": phones, "groups": groups})
    return head.encode() + b"\n" + b"".join(chunks)


def _groups(library: Any, text: str) -> list[list[str]]:
    """The phones of each word, without pauses: the events' own order does not tell, because that
    of a word with a first vowel comes before the last n or l of the word before."""
    translate = library.espeak_TextToPhonemes
    translate.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(text.encode())
    groups: list[list[str]] = []
    while rest.value:  # a clause a call
        said = translate(ctypes.byref(rest), _UTF8, ord("\t") << 8).decode()
        for group in said.split(" "):
            phones = [phone.lstrip(_STRESS) for phone in group.split("\t")]
            groups.append([phone for phone in phones if phone and phone not in PAUSES])
    return [group for group in groups if group]
