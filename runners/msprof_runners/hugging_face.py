"""The runner for any causal language model of transformers: Llama, Qwen, mixtures of experts and GptOss."""

from __future__ import annotations

from typing import Any

from msprof_runners.model_runner import ModelRunner

__all__ = ["HuggingFaceRunner"]


class HuggingFaceRunner(ModelRunner):
    """Runs the class that the checkpoint names, as transformers has it."""

    def model_input_prepare(self, input_dict: dict[str, Any]) -> dict[str, Any]:
        """Return token ids, positions, cache and mask; only the last column of logits is wanted."""
        masks = input_dict["masks"]
        return {
            "input_ids": input_dict["input_ids"],
            "position_ids": input_dict["position_ids"],
            "attention_mask": masks.prefill() if input_dict["is_prefill"] else masks.step(),
            "past_key_values": input_dict["past_key_values"],
            "use_cache": True,
            "logits_to_keep": 1,
        }

    def model_output_process(self, model_inputs: dict[str, Any], outputs: Any, input_dict: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Take the next token of each request."""
        self.take_tokens(self.choose_tokens(outputs.logits[:, -1], input_dict), input_dict)
