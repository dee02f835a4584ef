"""Tokenizers of the tiny models, trained on a text that is the same on every machine.

Normalizers and word patterns are those of transformers: it builds the tokenizer of an architecture
anew with them, whatever stands in the file, and the harness must count as the engine does.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Vocabulary", "silent_tokens", "vocabulary_of"]

WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's."""

CLIP_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
WORD_END = "</w>"
"""What CLIP writes at the end of a word's last piece."""
WORD_PART = "##"
"""What BERT writes before every piece of a word but the first."""
MARKED = 0xE000
"""The first character that Unicode leaves to its users."""

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


class Vocabulary(NamedTuple):
    """How a family of models reads text."""

    tokenizer_class: str
    """The class of transformers."""
    special: tuple[str, ...]
    """Special tokens, of which the first has the id 0."""
    roles: Mapping[str, str]
    """What each is for, as `tokenizer_config.json` spells it."""
    options: Mapping[str, Any]
    """Further entries of that file."""
    train: Callable[[int], Tokenizer]
    """Size → a tokenizer of at most that many tokens."""

    @property
    def token_ids(self) -> dict[str, int]:
        """The ids that the model's configuration names."""
        wanted = ("bos_token", "eos_token", "pad_token")
        return {f"{role}_id": self.special.index(self.roles[role]) for role in wanted if role in self.roles}


def vocabulary_of(family: str) -> Vocabulary:
    """Return how models of *family*, a `model_type` of transformers, read text."""
    return {"bert": BERT, "clip": CLIP}.get(family, DECODER)


def silent_tokens(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that are no text of their own: special ones, and pieces of a character."""
    texts = ((token, tokenizer.decode([token])) for token in range(tokenizer.get_vocab_size()))
    return [token for token, text in texts if not text or "\ufffd" in text]


def _byte_pairs(size: int) -> Tokenizer:
    """Train a byte-level BPE of *size* tokens."""
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
        vocab_size=size,
        min_frequency=1,
        special_tokens=list(DECODER.special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_text(), trainer)
    return tokenizer


def _word_pieces(size: int) -> Tokenizer:
    """Train the WordPiece of BERT with *size* tokens; printable ASCII is known wherever it stands in a word."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    first = {letter: chr(MARKED + number) for number, letter in enumerate(letters)}
    heads = {mark: letter for letter, mark in first.items()}
    words = (first[word[0]] + word[1:] for word in map(str.strip, _text()))
    found, _ = _pairs(words, [*letters, *heads], size - len(BERT.special))
    pieces = [heads[token[0]] + token[1:] if token[0] in heads else WORD_PART + token for token in found]
    vocabulary = {token: number for number, token in enumerate((*BERT.special, *pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text, no secret
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=WORD_PART)
    tokenizer.add_special_tokens(list(BERT.special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


def _word_ends(size: int) -> Tokenizer:
    """Train the BPE of CLIP with *size* tokens; every byte is one, inside a word and at its end."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    last = {letter: chr(MARKED + number) for number, letter in enumerate(letters)}
    spelled = str.maketrans({mark: letter + WORD_END for letter, mark in last.items()})
    words = (word[:-1] + last[word[-1]] for word in map(str.strip, _text()))
    found, pairs = _pairs(words, [*letters, *last.values()], size - len(CLIP.special))
    tokens = (*CLIP.special, *(token.translate(spelled) for token in found))
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [(left.translate(spelled), right.translate(spelled)) for left, right in pairs]
    unknown = CLIP.roles["unk_token"]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix=WORD_END, unk_token=unknown))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(CLIP.special))
    start, end = ((token, vocabulary[token]) for token in CLIP.special)
    tokenizer.post_processor = processors.RobertaProcessing(end, start, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def _pairs(words: Iterable[str], letters: Sequence[str], size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Return *size* tokens for *words*, the letters first, and the pairs that made the others.

    The trainers that know ends and parts of words number them in an order that differs from process
    to process. Here a letter at such a place is a letter of its own, from the private area of Unicode.
    """
    from tokenizers import Tokenizer, models, trainers

    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=1, initial_alphabet=list(letters), show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].__getitem__), [tuple(pair) for pair in model["merges"]]


def _text() -> Iterator[str]:
    """Yield lines of word forms, each after a space, as inside a sentence."""
    for ending, stem in itertools.product(ENDINGS, STEMS.split()):
        yield f" {stem}{ending}"


DECODER = Vocabulary(
    "Qwen2Tokenizer",
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"),
    {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"},
    {"add_bos_token": False, "clean_up_tokenization_spaces": False},
    _byte_pairs,
)
BERT = Vocabulary(
    "BertTokenizer",
    ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")},
    {"do_lower_case": True},
    _word_pieces,
)
CLIP = Vocabulary(
    "CLIPTokenizer",
    ("<|startoftext|>", "<|endoftext|>"),
    {"bos_token": "<|startoftext|>", **dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>")},
    {},
    _word_ends,
)
