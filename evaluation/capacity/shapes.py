"""Tensors of shapes alone: a step of a network that no memory would hold, taken to see what it costs.

Pixels, weights and all that comes of them lie on torch's meta device, where an op only says which shape its result has. Masks,
places and counts are real, on the CPU, since other shapes depend on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map, tree_map_only
from torch.utils.flop_counter import flop_registry

aten: Any = torch.ops.aten
META = torch.device("meta")
INDEXING = (aten.index.Tensor, aten._index_put_impl_.default, aten.index_put.default, aten.index_put_.default,
            aten._unsafe_index.Tensor)
FREE = frozenset({
    "view", "_unsafe_view", "reshape", "expand", "t", "transpose", "permute", "select", "slice", "unsqueeze", "squeeze", "detach",
    "alias", "as_strided", "split", "split_with_sizes", "unbind", "chunk", "lift_fresh", "empty", "empty_like", "empty_strided",
    "new_empty", "new_empty_strided", "diagonal", "unfold", "view_as", "movedim", "_reshape_alias"})
"""Ops that move no bytes: they say anew where a tensor's begin, or reserve some."""

SEEN = 0.5
"""What whoever asks for the value of a float finds, for example to see that pixels are in [0, 1]."""


class Shapes(TorchDispatchMode):
    """Within it, ops on meta tensors take CPU tensors beside them; op(name, flops, moved) hears of each that a device would run,
    with its multiplications and additions, and the bytes that it reads and writes."""

    def __init__(self, op: Callable[[str, int, int], None]) -> None:
        super().__init__()
        self.op = op

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        device = kwargs.get("device")
        if device is not None and torch.device(device) == META and _is_whole(kwargs.get("dtype"), func, args):
            kwargs["device"] = torch.device("cpu")  # counts and places stay real
        tensors = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        on_meta = any(each.device == META for each in tensors)
        if on_meta and len({each.device for each in tensors}) > 1:
            if func in INDEXING:
                args = (args[0], _places(args[1]), *args[2:])
            args, kwargs = tree_map_only(Tensor, lambda each: _meta(each), (args, kwargs))
        elif func in INDEXING and on_meta:
            args = (args[0], _places(args[1]), *args[2:])
        if func is aten._local_scalar_dense.default and on_meta:
            return SEEN if tensors[0].is_floating_point() else 0
        if func is aten.bincount.default and on_meta:  # torch has no shape for it
            return torch.empty(kwargs.get("minlength", 1), dtype=torch.int64, device=META)
        found = func(*args, **kwargs)
        packet = func._overloadpacket
        name = packet.__name__
        leaves = [each for each in torch.utils._pytree.tree_leaves(found) if isinstance(each, Tensor)]
        if name not in FREE and any(each.device == META for each in [*leaves, *tensors]):
            flops = flop_registry[packet](*args, **kwargs, out_val=found) if packet in flop_registry else 0
            self.op(name, int(flops), sum(_bytes(each) for each in [*tensors, *leaves]))
        return found


class Autocast(TorchFunctionMode):
    """What torch's autocast does on a GPU, for meta tensors, which it knows nothing of: products and convolutions in `dtype`,
    sums and norms in float32. A weight is made over once, as autocast keeps it; `copies` holds those. dtype: None
    leaves all as it is.

    fused: attention is one op that keeps no weights of pairs, as torch has it on a GPU for half precision, where nothing is
    masked or dropped; else it is plain products and a softmax."""

    LOWER = frozenset({
        torch.nn.functional.linear, torch.nn.functional.conv2d, torch.conv2d, torch.nn.functional.conv_transpose2d,
        torch.nn.functional.scaled_dot_product_attention, torch.matmul, torch.bmm, torch.mm, torch.addmm, torch.einsum,
        Tensor.matmul, Tensor.bmm, Tensor.mm, Tensor.__matmul__, Tensor.__rmatmul__, torch.baddbmm})
    HIGHER = frozenset({
        torch.nn.functional.layer_norm, torch.layer_norm, torch.nn.functional.softmax, torch.softmax, Tensor.softmax,
        torch.nn.functional.log_softmax, torch.log_softmax, Tensor.log_softmax, torch.nn.functional.cross_entropy,
        torch.nn.functional.normalize, torch.nn.functional.mse_loss, torch.nn.functional.smooth_l1_loss, torch.sum, Tensor.sum,
        torch.exp, Tensor.exp, torch.log, Tensor.log, torch.norm, Tensor.norm, Tensor.pow, torch.pow,
        torch.nn.functional.group_norm, torch.cdist, torch.logsumexp, Tensor.logsumexp})

    def __init__(self, dtype: torch.dtype | None, fused: bool) -> None:
        super().__init__()
        self.dtype, self.fused = dtype, fused
        self.on = dtype is not None
        self.copies: dict[int, tuple[Tensor, Tensor]] = {}
        self._entered = False
        self._torchs = torch.autocast

    def __enter__(self) -> Autocast:
        # torch.autocast refuses the meta device even where a loss turns it off.
        setattr(torch, "autocast", self._switch)  # noqa: B010
        super().__enter__()
        self._entered = True
        return self

    def __exit__(self, *raised: Any) -> None:
        self._entered = False
        super().__exit__(*raised)
        setattr(torch, "autocast", self._torchs)  # noqa: B010

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, within this also where a backward pass calls it once more."""
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._entered:
                return function(*args, **kwargs)
            with self:
                return function(*args, **kwargs)

        return call

    @contextmanager
    def _switch(self, device_type: str, dtype: torch.dtype | None = None, enabled: bool = True, **rest: Any) -> Iterator[None]:
        before, self.on = self.on, enabled and self.dtype is not None
        try:
            yield
        finally:
            self.on = before

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to = None if not self.on else self.dtype if func in self.LOWER else torch.float32 if func in self.HIGHER else None
        if to is not None:
            args, kwargs = tree_map(lambda each: self._cast(each, to), (args, kwargs))
        if func is torch.nn.functional.scaled_dot_product_attention and self.on and self.fused:
            return _attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _cast(self, value: Any, to: torch.dtype) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.dtype == to or value.device != META:
            return value
        if not (isinstance(value, torch.nn.Parameter) and to == self.dtype):
            return value.to(to)
        if id(value) not in self.copies:
            self.copies[id(value)] = value, value.to(to)
        return self.copies[id(value)][1]


def _attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
               is_causal: bool = False, **rest: Any) -> Tensor:
    if attn_mask is not None or dropout_p or query.device != META:
        with torch._C.DisableTorchFunction():
            return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **rest)
    found: Tensor = aten._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal)[0]
    return found


def _is_whole(dtype: torch.dtype | None, func: Any, args: Any) -> bool:
    if dtype is None and args and isinstance(args[0], Tensor):
        dtype = args[0].dtype
    if dtype is None:
        name = func._overloadpacket.__name__
        return name in ("arange", "randperm", "randint") and not any(isinstance(each, float) for each in args)
    return not (dtype.is_floating_point or dtype.is_complex)


def _places(indices: Any) -> Any:
    """Of masks, which are real, the places where they are true: how many decides the shape."""
    found: list[Any] = []
    for each in indices:
        if isinstance(each, Tensor) and each.dtype == torch.bool and each.device != META:
            found += list(each.nonzero(as_tuple=True))
        else:
            found.append(each)
    return [None if each is None else _meta(each) for each in found]


def _meta(value: Tensor) -> Tensor:
    return value if value.device == META else torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META)


def _bytes(value: Tensor) -> int:
    return value.numel() * value.element_size() if value.device == META else 0
