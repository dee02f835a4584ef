"""A model of Triton's Python backend: as many words as `max_tokens` says, one by one where it is decoupled."""

import json
import time

import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def initialize(self, args):
        self.streams = backend.using_decoupled_model_transaction_policy(json.loads(args["model_config"]))

    def execute(self, requests):
        if not self.streams:
            return [response(" ".join(words(request))) for request in requests]
        for request in requests:
            sender = request.get_response_sender()
            for word in words(request):
                time.sleep(0.01)
                sender.send(response(word))
            sender.send(flags=backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None


def words(request):
    said = str(backend.get_input_tensor_by_name(request, "text_input").as_numpy()[0], "utf-8")
    if said.startswith("refuse"):
        raise backend.TritonModelException("refused as asked")
    return [f"word{number} " for number in range(json.loads(request.parameters())["max_tokens"])]


def response(text):
    return backend.InferenceResponse([backend.Tensor("text_output", np.array([text.encode()], dtype=np.object_))])
