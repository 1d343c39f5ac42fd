"""Vectors of texts: a static model, and an ONNX model that is built here."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from streams.catalog_messages import CatalogItem
from streams.clients import text_encoders
from streams.clients.text_encoders import EncoderUnusable, encoded, load_encoder

WORDS = {"[PAD]": 0, "[UNK]": 1, "tent": 2, "dome": 3, "kettle": 4}
TABLE = np.array([[9, 9], [0, 0], [1, 0], [0.8, 0.6], [0, 1]], np.float32)


@pytest.fixture
def folder(tmp_path):
    """A model that looks each token up in `TABLE`."""
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": WORDS, "unk_token": "[UNK]"},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    shape = ["texts", "tokens"]
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["vectors"])],
        "lookup",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape)],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [*shape, 2])],
        [numpy_helper.from_array(TABLE, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path


def test_an_onnx_model_gives_the_mean_of_its_tokens_at_length_1(folder):
    encode = load_encoder(str(folder))
    mean = np.array([0.9, 0.3]) / np.hypot(0.9, 0.3)  # and the padding of the shorter text does not count
    assert np.allclose(encode(["Dome tent", "kettle"]), [mean, [0, 1]])
    assert np.allclose(encode(["nothing known"]), 0)


def test_wordllama_finds_what_means_alike_without_a_download(monkeypatch):
    monkeypatch.setattr("requests.get", lambda *args, **kwargs: pytest.fail("it asks the network"))
    vectors = load_encoder("wordllama")(["dome tent", "a tent for two", "electric kettle"])
    cosines = vectors @ vectors.T
    assert vectors.shape == (3, 256)
    assert np.allclose(np.diag(cosines), 1, atol=1e-3)
    assert cosines[0, 1] > cosines[0, 2] + 0.1


def test_items_get_a_vector_of_each_encoder_beside_their_own(folder):
    encoders = {
        "words": load_encoder(str(folder)),
        "length": lambda texts: np.array([[len(t)] for t in texts]),
    }
    items = [CatalogItem(item=f"i{n}", title="tent", vectors={"image": [0.5]}) for n in range(100)]
    vectors = [item.vectors for item in encoded(items, encoders)]
    assert vectors == [{"image": [0.5], "words": [1.0, 0.0], "length": [4.0]}] * 100


@pytest.mark.parametrize("lacks", ["model.onnx", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(folder, lacks):
    (folder / lacks).unlink()
    with pytest.raises(EncoderUnusable, match=r"no folder with model\.onnx and tokenizer\.json"):
        load_encoder(str(folder))


@pytest.mark.parametrize("broken", ["model.onnx", "tokenizer.json"])
def test_a_broken_file_is_refused_in_a_line(folder, broken):
    (folder / broken).write_bytes(b"{")
    with pytest.raises(EncoderUnusable) as refused:
        load_encoder(str(folder))
    assert str(refused.value).startswith(f"--encode {folder}: ")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(text_encoders, "find_spec", lambda name: None)
    with pytest.raises(EncoderUnusable, match=r"needs wordllama: pip install 'freshet\[text\]'"):
        load_encoder("wordllama")
