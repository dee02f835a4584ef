"""Decode steps as one graph: which compiler a mode means on which device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from msprof_runners.devices import Device
from pytest_msprof.errors import ConfigurationError, DeviceUnavailable

__all__ = ["Compiler", "compiler_for"]

Step = Callable[..., Any]

NOT_LOADED = (ImportError, OSError, RuntimeError, AttributeError)
RECOMPILATIONS = 64
"""Batch sizes of one model that may each have their graph; torch's own limit is 8."""


class Compiler(NamedTuple):
    """What makes a graph of a step."""

    name: str
    """As results call it: inductor, cudagraphs, torchair, npugraph_ex."""
    compile: Callable[[Step], Step]
    note: str = ""
    """What a reader must know, where this is not what was asked for."""


def compiler_for(mode: str, device: Device, *, substitute: bool = False) -> Compiler:
    """Return what makes graphs in *mode* (`ge_graph`, `acl_graph`) on *device*.

    `ge_graph` is torchair on an NPU and inductor elsewhere; `acl_graph` is npugraph_ex on an NPU and
    CUDA graphs on CUDA. Raises `ConfigurationError` where the device has no such mode, unless
    *substitute* allows another one, and `DeviceUnavailable` where the compiler is missing.
    """
    if mode == "ge_graph":
        return Compiler("torchair", _torchair) if device.kind == "npu" else _inductor(device)
    if device.kind == "npu":
        return Compiler("npugraph_ex", _npugraph_ex)
    if device.kind == "cuda":
        return Compiler("cudagraphs", CapturedStep)
    if not substitute:
        raise ConfigurationError(
            f"exe_mode 'acl_graph' needs an NPU or CUDA, but the device is {device.name} "
            "(possible: eager, ge_graph, or allow_mode_substitution: true)"
        )
    return _inductor(device, f"acl_graph was replaced by ge_graph (inductor): {device.name} has no graphs")


def _inductor(device: Device, note: str = "") -> Compiler:
    """Return the compiler of processors and CUDA; a fused graph is called from C++ on a processor, not from Python."""
    options = {"size_asserts": False, "cpp_wrapper": device.kind == "cpu"}
    return Compiler("inductor", partial(_compiled, backend="inductor", options=options), note)


def _npugraph_ex(step: Step) -> Step:
    return _compiled(step, "npugraph_ex")


def _torchair(step: Step) -> Step:
    try:
        import torchair
    except NOT_LOADED as error:
        raise DeviceUnavailable(
            f"exe_mode 'ge_graph' on an NPU needs torchair, which cannot be loaded: {error}"
        ) from None
    config = torchair.CompilerConfig()
    config.experimental_config.frozen_parameter = True
    config.experimental_config.tiling_schedule_optimize = True
    return _compiled(step, torchair.get_npu_backend(compiler_config=config))


def _compiled(step: Step, backend: Any, options: Mapping[str, Any] | None = None) -> Step:
    import torch

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILATIONS)  # noqa: SLF001 - its public name
    chosen = None
    if options is not None and _is_fused(step):  # a model's own pass may talk to other processes, which C++ cannot
        step, chosen = _of_its_own(step), {**options, "guard_filter_fn": _guards_of_inputs}
    found: Step = torch.compile(step, backend=backend, fullgraph=True, dynamic=False, options=chosen)
    return found


def _is_fused(step: Step) -> bool:
    from msprof_runners.decoder import Decoder

    return isinstance(getattr(step, "__self__", None), Decoder)


def _of_its_own(method: Any) -> Any:
    """Return *method* with code of its own: torch keeps graphs by code, and looks for those of others there too."""
    function = method.__func__
    code = function.__code__.replace()
    own = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    return MethodType(own, method.__self__)


def _guards_of_inputs(guards: Sequence[Any]) -> list[bool]:
    """Say what to check before each step: that inputs have the graph's shapes, and nothing of a model that stays."""
    return [guard.guard_type == "TENSOR_MATCH" and not guard.name.startswith("L['self']") for guard in guards]


class CapturedStep:
    """A decode step as a CUDA graph: captured once a batch size, replayed on the same memory.

    Tensors that change from step to step are copied to where the graph reads them; the cache lies
    where it lay, or the step is captured anew.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._graph: Any = None
        self._inputs: dict[str, Any] = {}
        self._outputs: Any = None
        self._place: tuple[int, ...] = ()

    def __call__(self, **inputs: Any) -> Any:
        """Run one step; raises as the step does where it cannot be captured."""
        place = self._place_of(inputs)
        if place != self._place:
            self._capture(inputs, place)
        else:
            for name, value in _tensors(inputs).items():
                self._inputs[name].copy_(value)
            self._graph.replay()
        return self._outputs

    @staticmethod
    def _place_of(inputs: dict[str, Any]) -> tuple[int, ...]:
        buffers = [*inputs["past_key_values"].keys, *inputs["past_key_values"].values]
        sizes = [size for value in _tensors(inputs).values() for size in value.shape]
        return (*(buffer.data_ptr() for buffer in buffers), *sizes)

    def _capture(self, inputs: dict[str, Any], place: tuple[int, ...]) -> None:
        import torch

        self._inputs = {name: value.clone() for name, value in _tensors(inputs).items()}
        given = _with_tensors(inputs, self._inputs)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(**given)  # lazily made handles and buffers must exist before the capture
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = self._step(**given)
        self._graph.replay()
        self._place = place


def _tensors(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors of a step's inputs that change, by a name of their own."""
    import torch

    found = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    masks = inputs.get("attention_mask")
    if isinstance(masks, dict):
        found |= {f"attention_mask.{kind}": mask for kind, mask in masks.items() if mask is not None}
    return found | {"slots": inputs["past_key_values"].slots}


def _with_tensors(inputs: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """Return *inputs* with *tensors* in the places that `_tensors` named."""
    given = {**inputs, **{name: value for name, value in tensors.items() if name in inputs}}
    if isinstance(masks := inputs.get("attention_mask"), dict):
        given["attention_mask"] = {kind: tensors.get(f"attention_mask.{kind}", mask) for kind, mask in masks.items()}
    given["past_key_values"].slots = tensors["slots"]
    return given
