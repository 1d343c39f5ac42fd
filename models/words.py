"""The words of an item as a few hashed features; `models.retrieval.content` compares them."""

from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from models.kernels.jit import Array, kernel

FEATURES = 32
"""Features kept of an item."""
WORDS = 24
"""The first features of an item, which are words; n-grams of their characters have the rest of the places."""
NGRAMS_FROM = 49_152
"""Features from 1 to this are words, and from this to 65,535 n-grams; 0: none."""
NGRAM, SHORTEST = 4, 6
"""Characters of an n-gram, and of the shortest word that has n-grams."""
MOST_CHARACTERS = 2_000
"""Characters that are read of an item."""

Words = NDArray[np.uint16]
"""uint16[`FEATURES`], padded with 0: the hashed words of an item, then n-grams of their characters."""


def hashed(text: str) -> Words:
    """The features of a text: its first distinct words, then n-grams of the longer ones.

    Case does not count.  Where words are not separated, as in Chinese and Japanese, each pair of neighbouring
    characters is a word.  The hashing trick of Weinberger et al. 2009 ("Feature Hashing for Large Scale
    Multitask Learning"): two of 1,000 words share a feature once in 50.  Cost: 5 to 10 µs.

    >>> set(hashed("Dome tent")[:2]) == set(hashed("TENT, dome!")[:2])
    True
    >>> np.intersect1d(hashed("lantern"), hashed("lanterns")).size > 2  # by n-grams: lant, ante, nter, tern
    True
    """
    lowered = normalize("NFKC", text[:MOST_CHARACTERS]).lower()
    out = np.zeros(FEATURES, np.uint16)
    _hash(np.frombuffer(lowered.encode("utf-32-le", "surrogatepass"), np.uint32), out)
    return out


@kernel
def _hash(text: Array, out: Array) -> None:
    size = 0
    start = 0
    for end in range(len(text) + 1):
        dense = end < len(text) and _is_dense(text[end])
        if end < len(text) and _in_word(text[end]) and not dense:
            continue
        if end > start:
            size = _add(_feature(text[start:end], False), out, size, WORDS)
        if dense:
            pair = end + 1 < len(text) and _is_dense(text[end + 1])
            alone = not pair and (end == 0 or not _is_dense(text[end - 1]))
            if pair or alone:
                size = _add(_feature(text[end : end + 1 + pair], False), out, size, WORDS)
        start = end + 1
    start = 0
    for end in range(len(text) + 1):
        if end < len(text) and _in_word(text[end]) and not _is_dense(text[end]):
            continue
        if end - start >= SHORTEST:
            for at in range(start, end - NGRAM + 1):
                size = _add(_feature(text[at : at + NGRAM], True), out, size, FEATURES)
        start = end + 1


@kernel
def _in_word(c: int) -> bool:
    """Whether a character is part of a word: letters, digits and "_"; beyond ASCII all but punctuation."""
    if c < 128:
        return 48 <= c <= 57 or 97 <= c <= 122 or c == 95
    return not (
        c < 0xAA
        or c in (0xAB, 0xAC, 0xAD, 0xBB, 0xD7, 0xF7)
        or 0x2000 <= c <= 0x206F
        or 0x3000 <= c <= 0x303F
    )


@kernel
def _is_dense(c: int) -> bool:
    """Whether a character is of a script without spaces between words: Chinese, Japanese, Thai."""
    return 0x3040 <= c <= 0x30FF or 0x3400 <= c <= 0x9FFF or 0x20000 <= c <= 0x2FFFF or 0x0E00 <= c <= 0x0E7F


@kernel
def _feature(characters: Array, ngram: bool) -> int:
    """FNV-1a over the characters, folded to the range of words or of n-grams."""
    value = np.uint32(2166136261)
    for c in characters:
        value = np.uint32((value ^ c) * np.uint32(16777619))
    value ^= value >> np.uint32(15)
    if ngram:
        return NGRAMS_FROM + int(value % np.uint32(65_536 - NGRAMS_FROM))
    return 1 + int(value % np.uint32(NGRAMS_FROM - 1))


@kernel
def _add(feature: int, out: Array, size: int, most: int) -> int:
    if size >= most:
        return size
    for n in range(size):
        if out[n] == feature:
            return size
    out[size] = feature
    return size + 1
