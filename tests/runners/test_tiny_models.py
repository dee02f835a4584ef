"""Transformers reads every tiny model whole, and counts tokens as the harness does."""

from __future__ import annotations

import pytest
import torch
import transformers
from tokenizers import Tokenizer

from pytest_msprof.tiny_models import MODELS

TEXTS = ["Explain what is gpt_oss.", " the engine builds, 42 times over!", "Wörld 你好"]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_its_tokenizer_counts_as_that_of_the_harness(models, name):
    theirs = transformers.AutoTokenizer.from_pretrained(models(name))
    ours = Tokenizer.from_file(str(models(name) / "tokenizer.json"))
    assert [theirs(text)["input_ids"] for text in TEXTS] == [ours.encode(text).ids for text in TEXTS]


@pytest.mark.parametrize(("name", "cls"), [("tiny-bert", "BertModel"), ("tiny-clip", "CLIPModel")])
def test_an_encoder_has_every_weight_of_its_class_and_no_other(models, name, cls):
    model, info = getattr(transformers, cls).from_pretrained(models(name), output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    text = transformers.AutoTokenizer.from_pretrained(models(name))(TEXTS, padding=True, return_tensors="pt")
    if name == "tiny-bert":
        found = model(**text).pooler_output
        assert found.shape == (3, 128)
    else:
        pictures = torch.zeros(2, 3, 64, 64, dtype=model.dtype)
        found = model(**text, pixel_values=pictures).logits_per_image
        assert found.shape == (2, 3)
    assert found.isfinite().all()
