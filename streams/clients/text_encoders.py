"""Vectors of items from their texts, by a model that others have trained; the publisher makes them.

Workers and the learner get the vectors with the catalog, so that none of them needs the model.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from models.catalog import MAX_VECTOR
from models.core import Floats
from streams.catalog_messages import CatalogItem
from streams.errors import USAGE, UserError

WORDLLAMA = "wordllama"
AT_ONCE = 64
"""Items that are encoded together."""
MOST_CHARACTERS = 2_000
"""Characters of an item that are encoded, at most."""
MOST_TOKENS = 256
"""Tokens that an ONNX model reads of a text, at most."""
DECIMALS = 4
"""Digits of a number as it is published: workers keep 16 bits of each."""

Encoder = Callable[[list[str]], Floats]
"""Makes float32[n, length] of n texts."""


class EncoderUnusable(UserError):
    """An encoder cannot be used; the message says what it needs."""

    exit_code = USAGE


def load_encoder(name: str) -> Encoder:
    """The encoder `wordllama`, or one in a folder with `model.onnx` and `tokenizer.json`.

    `EncoderUnusable` if it cannot be used.  WordLlama is a table of word pieces, 256 numbers each, whose
    weights come with its package: 10 µs a title.  An ONNX model is a sentence encoder as Hugging Face's tools
    export it; where it returns a vector a token, their mean is taken.
    """
    package = "wordllama" if name == WORDLLAMA else "onnxruntime"
    if find_spec(package) is None:
        raise EncoderUnusable(f"--encode {name} needs {package}: pip install 'freshet[text]'")
    encoder = _wordllama() if name == WORDLLAMA else _onnx(Path(name))
    try:
        length = encoder(["a text"]).shape[-1]
    except Exception as error:  # noqa: BLE001  onnxruntime has a class for each kind
        raise EncoderUnusable(f"--encode {name}: the model does not encode a text: {error}") from None
    if not 1 <= length <= MAX_VECTOR:
        raise EncoderUnusable(f"--encode {name}: vectors of {length} numbers, at most {MAX_VECTOR}")
    return encoder


def encoded(items: Iterable[CatalogItem], encoders: Mapping[str, Encoder]) -> Iterator[CatalogItem]:
    """The items with a vector of each encoder, by its name."""
    upcoming = iter(items)
    while part := list(islice(upcoming, AT_ONCE)):
        texts = [_text(item) for item in part]
        vectors = {name: encode(texts) for name, encode in encoders.items()}
        for n, item in enumerate(part):
            own = {
                name: np.round(of[n].astype(np.float64), DECIMALS).tolist() for name, of in vectors.items()
            }
            yield msgspec.structs.replace(item, vectors=item.vectors | own)


def _text(item: CatalogItem) -> str:
    parts = [item.title, *item.categories, item.brand, item.author, *item.tags, item.text]
    return ". ".join(filter(None, parts))[:MOST_CHARACTERS]


def _wordllama() -> Encoder:
    import wordllama

    logging.getLogger("wordllama").setLevel(logging.ERROR)
    # its own search for the tokenizer looks beside the folder that the package has, and then downloads it
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def encode(texts: list[str]) -> Floats:
        vectors: Floats = model.embed(texts, norm=True)
        return vectors

    return encode


def _onnx(folder: Path) -> Encoder:
    for file in ("model.onnx", "tokenizer.json"):
        if not (folder / file).is_file():
            raise EncoderUnusable(
                f"--encode {folder}: not {WORDLLAMA}, and no folder with model.onnx and tokenizer.json"
            )
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        session = InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  neither library has a class of its own for all
        raise EncoderUnusable(f"--encode {folder}: {error}") from None
    tokenizer.enable_padding()
    tokenizer.enable_truncation(MOST_TOKENS)
    inputs = [node.name for node in session.get_inputs()]

    def encode(texts: list[str]) -> Floats:
        tokens = tokenizer.encode_batch(texts)
        mask = np.array([of.attention_mask for of in tokens], np.int64)
        given: dict[str, Any] = {
            "input_ids": np.array([of.ids for of in tokens], np.int64),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        vectors = session.run(None, {name: given[name] for name in inputs})[0]
        if vectors.ndim == 3:
            weights = mask[:, :, None].astype(np.float32)
            vectors = (vectors * weights).sum(1) / np.maximum(weights.sum(1), 1)
        lengths = np.sqrt((vectors * vectors).sum(1, keepdims=True))
        unit: Floats = vectors / np.maximum(lengths, 1e-12)
        return unit

    return encode
