"""The words of items as hashed features."""

import numpy as np
import pytest

from models.words import FEATURES, NGRAMS_FROM, WORDS, hashed


def words(text):
    features = hashed(text)
    return set(features[(features > 0) & (features < NGRAMS_FROM)].tolist())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dome tent", "TENT (dome)"),
        ("Ａｂｃ", "abc"),  # full width
        ("Schlafsäcke", "SCHLAFSÄCKE"),
        ("палатка", "ПАЛАТКА"),
        ("tent tent tent", "tent"),
    ],
)
def test_case_order_and_punctuation_do_not_count(one, other):
    assert words(one) == words(other)


def test_unseparated_scripts_are_cut_into_pairs():
    assert len(words("登山帐篷")) == 3
    assert len(words("登山帐篷") & words("帐篷")) == 1
    assert len(words("山")) == 1


def test_inflected_words_share_ngrams_and_no_word():
    one, other = hashed("lantern"), hashed("lanterns")
    assert not words("lantern") & words("lanterns")
    assert np.intersect1d(one[one >= NGRAMS_FROM], other[other >= NGRAMS_FROM]).size == 4


def test_words_are_kept_before_ngrams_and_both_are_bounded():
    features = hashed(" ".join(f"abcdefgh{n}" for n in range(100)))
    assert len(features) == FEATURES
    assert (features > 0).all()
    assert (features[:WORDS] < NGRAMS_FROM).all()
    assert (features[WORDS:] >= NGRAMS_FROM).all()


@pytest.mark.parametrize("text", ["", " ", "---", "\x00", "<script>", "😀", "a" * 100_000])
def test_any_text_has_features(text):
    features = hashed(text)
    used = int((features > 0).sum())
    assert (features[used:] == 0).all()
    assert len(set(features[:used].tolist())) == used
