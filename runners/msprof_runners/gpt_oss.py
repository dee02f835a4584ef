"""GptOss, as the guide brings a model over: a runner of its own, and a model class that knows the settings."""

from __future__ import annotations

from functools import cache
from typing import Any, Self

from msprof_runners.model_runner import ModelRunner

__all__ = ["GptOssRunner", "gpt_oss_class"]


class GptOssRunner(ModelRunner):
    """Runs GptOss; the model itself prepares the inputs of a step."""

    def init_model(self, model: Any = None, config: Any = None) -> Self:
        """Load GptOss with the class below."""
        return super().init_model(model or gpt_oss_class(), config)

    def model_input_prepare(self, input_dict: dict[str, Any]) -> dict[str, Any]:
        """Ask the model for the inputs of the next step."""
        masks = input_dict["masks"]
        found: dict[str, Any] = self.model.prepare_inputs_for_generation(
            input_dict["input_ids"],
            past_key_values=input_dict["past_key_values"],
            position_ids=input_dict["position_ids"],
            causal_mask_mapping=masks.prefill() if input_dict["is_prefill"] else masks.step(),
        )
        return found

    def model_output_process(self, model_inputs: dict[str, Any], outputs: Any, input_dict: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Take the next token of each request."""
        self.take_tokens(self.choose_tokens(outputs.logits[:, -1], input_dict), input_dict)


@cache
def gpt_oss_class() -> Any:
    """Return the model's class, made when transformers is needed."""
    import transformers

    class GptOssForCausalLM(transformers.GptOssForCausalLM):  # type: ignore[misc]
        """GptOss that carries the runner's settings, and prepares its own inputs."""

        def __init__(self, config: Any, runner_settings: Any) -> None:
            super().__init__(config)
            self.runner_settings = runner_settings
            self.lm_head_tp_size = runner_settings.get("parallel_config").get("lmhead_tp_size", 1)

        def prepare_inputs_for_generation(
            self, input_ids: Any, *, past_key_values: Any, position_ids: Any, causal_mask_mapping: Any
        ) -> dict[str, Any]:
            """Return the arguments of `forward` for one step."""
            return {
                "input_ids": input_ids,
                "position_ids": position_ids,
                "attention_mask": causal_mask_mapping,
                "past_key_values": past_key_values,
                "use_cache": True,
                "logits_to_keep": 1,
            }

    return GptOssForCausalLM
