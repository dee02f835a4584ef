"""The tiny models that write no text: BERT, which reads it, and CLIP, which reads pictures beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pytest_msprof.tiny_shapes import DEVIATION, Noise, Shape, Weights

__all__ = ["encoder_files", "encoder_weights", "is_encoder"]

PICTURE, PATCH = 64, 16
"""Pixels of a picture's side, and of the squares that it is cut into."""
COLORS = 3
PROJECTED = 64
"""Width of the space in which texts and pictures are compared."""
LOGIT_SCALE = 2.6592
"""Where CLIP's training begins: log(1 / 0.07) (arXiv 2103.00020, section 2.5)."""
MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the colours, by which CLIP's own preprocessing normalises."""
BICUBIC = 3
"""As Pillow counts its filters."""


def is_encoder(shape: Shape) -> bool:
    """Say whether *shape* is made here."""
    return shape.family in ("bert", "clip")


def encoder_files(shape: Shape, token_ids: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Return the content of each JSON file by its name."""
    if shape.family == "bert":
        return {"config.json": _bert_configuration(shape, token_ids)}
    return {"config.json": _clip_configuration(shape, token_ids), "preprocessor_config.json": _preprocessing()}


def encoder_weights(shape: Shape) -> Weights:
    """Yield the tensors by name: projections and embeddings normal, norms 1, biases 0."""
    noise = Noise(DEVIATION)
    yield from _bert_weights(shape, noise) if shape.family == "bert" else _clip_weights(shape, noise)


def _sizes(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.hidden,
        "initializer_range": DEVIATION,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
    }


def _bert_configuration(shape: Shape, token_ids: Mapping[str, int]) -> dict[str, Any]:
    return {
        **_sizes(shape),
        **token_ids,
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.0,
        "dtype": "bfloat16",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "type_vocab_size": 2,
        "vocab_size": shape.vocabulary,
    }


def _clip_configuration(shape: Shape, token_ids: Mapping[str, int]) -> dict[str, Any]:
    common = {**_sizes(shape), "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": PROJECTED}
    text = {"max_position_embeddings": shape.positions, "vocab_size": shape.vocabulary}
    picture = {"image_size": PICTURE, "num_channels": COLORS, "patch_size": PATCH}
    return {
        "architectures": ["CLIPModel"],
        "dtype": "bfloat16",
        "logit_scale_init_value": LOGIT_SCALE,
        "model_type": "clip",
        "projection_dim": PROJECTED,
        "text_config": {**common, **text, **token_ids, "model_type": "clip_text_model"},
        "vision_config": {**common, **picture, "model_type": "clip_vision_model"},
    }


def _preprocessing() -> dict[str, Any]:
    return {
        "crop_size": {"height": PICTURE, "width": PICTURE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": list(MEAN),
        "image_processor_type": "CLIPImageProcessor",
        "image_std": list(SPREAD),
        "resample": BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": PICTURE},
    }


def _bert_weights(shape: Shape, noise: Noise) -> Weights:
    hidden = shape.hidden
    for name, count in (("word", shape.vocabulary), ("position", shape.positions), ("token_type", 2)):
        yield f"embeddings.{name}_embeddings.weight", noise(count, hidden)
    yield from _norm("embeddings.LayerNorm", hidden)
    for layer in range(shape.layers):
        at = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _linear(f"{at}.attention.{name}", noise, hidden, hidden)
        yield from _norm(f"{at}.attention.output.LayerNorm", hidden)
        yield from _linear(f"{at}.intermediate.dense", noise, shape.intermediate, hidden)
        yield from _linear(f"{at}.output.dense", noise, hidden, shape.intermediate)
        yield from _norm(f"{at}.output.LayerNorm", hidden)
    yield from _linear("pooler.dense", noise, hidden, hidden)


def _clip_weights(shape: Shape, noise: Noise) -> Weights:
    hidden, patches = shape.hidden, (PICTURE // PATCH) ** 2
    yield "logit_scale", np.full((), LOGIT_SCALE, np.float32)
    yield "text_model.embeddings.token_embedding.weight", noise(shape.vocabulary, hidden)
    yield "text_model.embeddings.position_embedding.weight", noise(shape.positions, hidden)
    yield from _clip_layers(shape, "text_model", noise)
    yield from _norm("text_model.final_layer_norm", hidden)
    yield "vision_model.embeddings.class_embedding", noise(hidden)
    yield "vision_model.embeddings.patch_embedding.weight", noise(hidden, COLORS, PATCH, PATCH)
    yield "vision_model.embeddings.position_embedding.weight", noise(patches + 1, hidden)
    yield from _norm("vision_model.pre_layrnorm", hidden)  # transformers spells it so
    yield from _clip_layers(shape, "vision_model", noise)
    yield from _norm("vision_model.post_layernorm", hidden)
    yield "visual_projection.weight", noise(PROJECTED, hidden)
    yield "text_projection.weight", noise(PROJECTED, hidden)


def _clip_layers(shape: Shape, model: str, noise: Noise) -> Weights:
    hidden = shape.hidden
    for layer in range(shape.layers):
        at = f"{model}.encoder.layers.{layer}"
        for name in ("k", "v", "q", "out"):
            yield from _linear(f"{at}.self_attn.{name}_proj", noise, hidden, hidden)
        yield from _norm(f"{at}.layer_norm1", hidden)
        yield from _linear(f"{at}.mlp.fc1", noise, shape.intermediate, hidden)
        yield from _linear(f"{at}.mlp.fc2", noise, hidden, shape.intermediate)
        yield from _norm(f"{at}.layer_norm2", hidden)


def _linear(name: str, noise: Noise, outputs: int, inputs: int) -> Weights:
    yield f"{name}.weight", noise(outputs, inputs)
    yield f"{name}.bias", np.zeros(outputs, np.float32)


def _norm(name: str, width: int) -> Weights:
    yield f"{name}.weight", np.ones(width, np.float32)
    yield f"{name}.bias", np.zeros(width, np.float32)
