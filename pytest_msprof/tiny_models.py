"""Models small enough to serve on any machine, made here: no download, the same bytes everywhere."""

from __future__ import annotations

import itertools
import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_msprof.errors import ConfigurationError, UnknownName
from pytest_msprof.tiny_shapes import MODELS, Shape, configuration, weights

__all__ = ["MODELS", "make_model"]

RECIPE = "recipe.json"
RECIPE_VERSION = 2
"""2: never writes what is no text of its own. 1: first."""

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
BOS, EOS, PAD = 0, 2, 3

WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""

STEMS = """
accept account act add address agree allow answer appear apply argue arrange arrive ask attack avoid bank base beat
believe block board book break bridge bring build burn burst call car care carry catch change charge check city claim
class clean clear close coast cold collect color command common compare complete connect consider contain control cook
cool copy corner cost count country cover create cross cry cut dance date deal decide deliver depend describe design
develop direct discover discuss divide doctor double draw dream dress drink drive drop dry earn east eat edge effect
engine enjoy enter escape event examine expect explain express extend face fact fail fall farm fear feed feel field
fight figure fill film find finish fire fish fit flow fly follow force forest forget form frame free front fruit game
garden gather glass grand great green ground group grow guard guess guide handle hang harbor hard heat help hold hope
horse house hunt imagine improve include increase inform insert island join judge jump keep kick kind king kitchen
know lake land language laugh lead learn leave letter level lift light limit line list listen load local lock long
look machine manage mark market master match matter measure meet member mention metal method mind miss mix model moment
morning mother mountain move music name nation nature need night north note notice number object observe offer office
open operate order origin pain paint paper park part pass pattern pay people perform period person phone picture piece
place plan plant play point poor post pound power prepare present press prevent print produce program promise protect
prove provide public pull push question quick race rain raise range reach read reason receive record reduce refer
region relate remain remember remove repeat replace report request require rest result return rich ride ring rise
river road rock roll room round rule safe sail salt sample sand save scale school science score search season second
section seek sell send sense serve set settle shape share sharp shelter shine ship shop short shout show sign silver
simple sing sister sit size skill sleep slow small smile smooth snow soft soil solve sound source south space speak
speed spell spend spirit spread spring square stand star start state station stay steel step stone stop store storm
story stream street strong study subject succeed sugar suggest summer supply support surface surprise system table
talk taste teach team tell test thank think throw tie time tone touch tower town track trade train travel tree trial
trouble trust try turn type unit use value view village visit voice wait walk wall want warm wash watch water wave wear
weather week weight west wheel white wide wild win wind winter wish wonder wood word work world write yard year young
"""
ENDINGS = ("", "s", "ed", "ing", "er", "ly", "able", "ment", "less", "ful", "ness", "ation")


def make_model(name: str, folder: Path) -> Path:
    """Make the model *name* in *folder* unless it is there, and return the folder.

    Weights are random and the text it writes means nothing, but engines serve it like any model of
    its architecture. It appears whole or not at all, also when two processes make it at once.

    Raises `UnknownName` for a model that is not in `MODELS`, and `ConfigurationError` when something
    else lies at its place.
    """
    if name not in MODELS:
        raise UnknownName("model", name, MODELS)
    if _is_made(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(MODELS[name], scratch)
        _write_json(scratch / RECIPE, {"name": name, "version": RECIPE_VERSION})
        scratch.chmod(0o755)
        _move(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _is_made(target: Path) -> bool:
    """Say whether *target* holds what the current recipe makes; a stranger's folder is an error."""
    if not target.exists():
        return False
    try:
        return bool(json.loads((target / RECIPE).read_text(encoding="utf-8"))["version"] == RECIPE_VERSION)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{target} exists, but was not made here (it has no readable {RECIPE}):"
            " move it away, or choose another folder"
        ) from None


def _move(scratch: Path, target: Path) -> None:
    """Put the finished folder in place; whoever came first wins."""
    if target.exists() and not _is_made(target):
        shutil.rmtree(target.replace(scratch.with_suffix(".old")), ignore_errors=True)
    try:
        scratch.replace(target)
    except OSError:
        if not _is_made(target):
            raise


def _write(shape: Shape, folder: Path) -> None:
    _write_json(folder / "config.json", configuration(shape, _token_ids()))
    _write_json(folder / "generation_config.json", {**_token_ids(), "do_sample": False})
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(shape))
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    silent = _write_tokenizer(shape, folder / "tokenizer.json")
    _write_tensors(folder / "model.safetensors", {name: _bfloat16(value) for name, value in weights(shape, silent)})


def _write_tensors(path: Path, tensors: Mapping[str, NDArray[np.uint16]]) -> None:
    """Write the safetensors format: length of the header, header, tensors end to end."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, value in tensors.items():
        start, end = end, end + value.nbytes
        header[name] = {"dtype": "BF16", "shape": value.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.writelines(value.tobytes() for value in tensors.values())


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _token_ids() -> dict[str, Any]:
    return {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}


def _tokenizer_config(shape: Shape) -> dict[str, Any]:
    return {
        "add_bos_token": False,
        "bos_token": SPECIAL_TOKENS[BOS],
        "clean_up_tokenization_spaces": False,
        "eos_token": SPECIAL_TOKENS[EOS],
        "model_max_length": shape.positions,
        "pad_token": SPECIAL_TOKENS[PAD],
        "tokenizer_class": "Qwen2Tokenizer",
    }


def _write_tokenizer(shape: Shape, path: Path) -> list[int]:
    """Train a byte-level BPE on a text that is the same on every machine; return its silent tokens.

    Silent are those that are no text of their own: special ones, and pieces of a character.

    Normalizer and word pattern are Qwen2's: transformers builds the tokenizer of this architecture
    anew with them, whatever stands in the file, and the harness must count as the engine does.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=shape.vocabulary,
        min_frequency=1,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_text(), trainer)
    tokenizer.save(str(path))
    texts = ((token, tokenizer.decode([token])) for token in range(tokenizer.get_vocab_size()))
    return [token for token, text in texts if not text or "\ufffd" in text]


def _text() -> Iterator[str]:
    """Yield lines of word forms, each after a space, as inside a sentence."""
    for ending, stem in itertools.product(ENDINGS, STEMS.split()):
        yield f" {stem}{ending}"


def _bfloat16(value: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round to the upper half of a float32, ties to even."""
    bits = value.astype("<f4").view("<u4")
    return np.asarray((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16, "<u2")
