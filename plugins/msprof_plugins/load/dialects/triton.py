"""Triton's two ways to ask a model: the generate extension, and KServe's inference protocol (v2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msprof_plugins.load.dialects.dialect import Piece, words_of
from pytest_msprof.requests import Request

__all__ = ["KServe", "Triton"]


class Triton:
    """`/v2/models/NAME/generate_stream`, or `generate` where nothing streams: text in, text out.

    The options go as parameters, in the words of vLLM's backend and of TensorRT-LLM's. Neither
    backend says why it ended or how many tokens it made unless its model repository lets it.
    """

    says_end = False

    def __init__(self, *, streams: bool = True) -> None:
        self.streams = streams

    def path_for(self, model: str) -> str:
        """Return the path of the model's endpoint."""
        return f"/v2/models/{model}/{'generate_stream' if self.streams else 'generate'}"

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*; the prompt is not wanted back."""
        del model
        told = {name: value for name, value in options.items() if value is not None}
        parameters = {"stream": self.streams, "exclude_input_in_output": True, **told}
        return {"text_input": request.prompt, "parameters": parameters}

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says."""
        if event.get("error"):
            return Piece(error=words_of(event["error"]))
        return Piece(
            text=event.get("text_output") or "",
            finish_reason=str(event.get("finish_reason") or ""),
            prompt_tokens=event.get("num_input_tokens"),
        )


class KServe:
    """`/v2/models/NAME/infer`: tensors in, tensors out, in one piece.

    The prompt is the tensor `text_input`; for a model with other tensors give `inputs` as a further
    field of the body. An answer with any output is a success.
    """

    streams = False
    says_end = False

    def __init__(self, *, streams: bool = True) -> None:
        del streams  # the protocol has no streams over HTTP

    def path_for(self, model: str) -> str:
        """Return the path of the model's endpoint."""
        return f"/v2/models/{model}/infer"

    def body(self, request: Request, *, model: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of *request*, with the options as parameters of the request."""
        del model
        text = {"name": "text_input", "shape": [1], "datatype": "BYTES", "data": [request.prompt]}
        return {"inputs": [text], "parameters": {name: value for name, value in options.items() if value is not None}}

    def read(self, event: Mapping[str, Any]) -> Piece:
        """Return what *event* says: the text of the first output that has one, else that there are outputs."""
        if event.get("error"):
            return Piece(error=words_of(event["error"]))
        outputs = event.get("outputs") or []
        texts = ["".join(map(str, output.get("data") or [])) for output in outputs if output.get("datatype") == "BYTES"]
        if texts:
            return Piece(text=texts[0])
        return Piece(text=f"{len(outputs)} outputs" if outputs else "", tokens=0)
