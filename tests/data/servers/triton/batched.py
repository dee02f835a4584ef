"""A model of Triton's Python backend that takes as long for a batch as for one request."""

import time

import numpy as np
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.004)
        return [answer(request) for request in requests]


def answer(request):
    texts = backend.get_input_tensor_by_name(request, "text_input").as_numpy()
    return backend.InferenceResponse([backend.Tensor("text_output", np.full(texts.shape, b"word", dtype=np.object_))])
