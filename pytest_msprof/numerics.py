"""Which fields may change what a model answers, by the names that engines give them."""

from __future__ import annotations

import re

__all__ = ["may_change_answers"]

NUMBERS = {"dtype", "precision", "quantization", "quantize", "quantized", "quant", "fp8", "fp4", "int8", "int4"}
"""Words that say in which numbers a model computes, or keeps something."""
KEPT = {"k", "v", "kv"}
"""With `cache` and `type`: the numbers of the cache, as in llama.cpp's `cache_type_k`."""
GUESSING = {"speculative", "spec"}
"""Words of speculative decoding, where they stand alone or beside one of `GUESSED`."""
GUESSED = {
    *("accept", "acceptance", "algo", "algorithm", "attention", "config", "decode", "decoding", "draft", "eagle"),
    *("medusa", "method", "mode", "model", "mtp", "ngram", "num", "step", "steps", "token", "tokens", "topk", "type"),
}
DRAFTING = {"draft", "assistant", "lookahead", "lookup"}
"""Words of speculative decoding beside one of `DRAFTED`."""
DRAFTED = {"max", "min", "model", "n", "num", "p", "slots", "token", "tokens"}
WORD = re.compile(r"[A-Z]+(?![a-z])[0-9]*|[A-Z]?[a-z]+[0-9]*|[0-9]+")


def may_change_answers(name: str) -> bool:
    """Say whether a field is called as what changes numerics: precision, quantization, cache type, drafts.

    Spelling does not matter: `kv-cache-dtype`, `KV_CACHE_DTYPE` and `kvCacheDtype` are one name.
    """
    words = {word.lower() for word in WORD.findall(name)}
    if words & NUMBERS or ({"cache", "type"} <= words and words & KEPT):
        return True
    if words & GUESSING and (not words - GUESSING or words & GUESSED):
        return True
    return bool(words & DRAFTING and words & DRAFTED)
