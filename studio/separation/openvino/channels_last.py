"""HTDemucs rearranged for a CPU: the same arithmetic on tensors whose channels come last.

The convolutions of oneDNN want channels last. Demucs's layers move frequencies into the batch and
back around their residual branches, which such tensors need not; the graph converter cannot see
that. Layers of shapes that are not known here stay as they are.
"""

from collections.abc import Callable
from types import MethodType
from typing import Any


def rearrange(network: Any) -> None:
    """Give the layers of a loaded HTDemucs their faster forward, in place. Inference only."""
    from demucs.hdemucs import HDecLayer, HEncLayer
    from demucs.transformer import MyGroupNorm

    for module in network.modules():
        if isinstance(module, HEncLayer) and not module.empty and _is_plain(module):
            module.forward = MethodType(_encode, module)
        elif isinstance(module, HDecLayer) and not module.empty and _is_plain(module):
            module.forward = MethodType(_decode, module)
        elif isinstance(module, MyGroupNorm) and module.num_groups == 1:
            module.forward = MethodType(_group_norm, module)
    wave = network.tencoder[-1]
    if not wave.empty and _is_plain(wave):
        wave.forward = MethodType(_encode_last, wave)


def _is_plain(layer: Any) -> bool:
    """Whether the layer is one of those of the released htdemucs."""
    import torch

    norms = ("norm1", "norm2")
    if not all(isinstance(getattr(layer, name), torch.nn.Identity) for name in norms):
        return False
    if not layer.rewrite:
        return False
    return not layer.dconv or all(_is_plain_branch(branch) for branch in layer.dconv.layers)


def _is_plain_branch(branch: Any) -> bool:
    from demucs.demucs import LayerScale
    from torch.nn import GELU, GLU, Conv1d, GroupNorm

    kinds = [Conv1d, GroupNorm, GELU, Conv1d, GroupNorm, GLU, LayerScale]
    if [type(module) for module in branch] != kinds:
        return False
    return bool(branch[1].num_groups == 1 and branch[4].num_groups == 1)


def _encode(self: Any, x: Any, inject: Any = None) -> Any:
    """`HEncLayer.forward`: (1, C, F, T); a wave is (1, C, T), and (1, C, 1, T) between layers."""
    from torch.nn import functional

    if not self.freq:
        x = _flat(x)
        if missing := -x.shape[-1] % self.stride:
            x = functional.pad(x, (0, missing))
    y = _convolve(self.conv, x, self.conv.weight, self.conv.bias)
    if inject is not None:
        y = y + (inject[:, :, None] if inject.dim() < y.dim() else inject)
    y = _residual(self.dconv, functional.gelu(y))
    first, second = _halves(self.rewrite, y)
    return first * second.sigmoid()


def _encode_last(self: Any, x: Any) -> Any:
    """`_encode` of a wave for those behind it, who take (1, C, T)."""
    return _encode(self, x).squeeze(2)


def _decode(self: Any, x: Any, skip: Any, length: int) -> tuple[Any, Any]:
    """`HDecLayer.forward`: (1, C, F, T); a wave is (1, C, T), and (1, C, 1, T) between layers."""
    from torch.nn import functional

    if not self.freq:
        x, skip = _flat(x), _flat(skip)
    elif x.dim() == 3:
        x = x.view(x.shape[0], self.chin, -1, x.shape[-1])
    first, second = _halves(self.rewrite, x + skip)
    y = _residual(self.dconv, first * second.sigmoid())
    z = _upsample(self.conv_tr, y, _same if self.last else functional.gelu)
    if not self.freq:
        z = z[..., self.pad : self.pad + length]
    elif self.pad:
        z = z[..., self.pad : -self.pad, :]
    return z, y


def _same(x: Any) -> Any:
    return x


def _flat(x: Any) -> Any:
    """A wave (1, C, T) as an image of one line, (1, C, 1, T), whose channels may lie last."""
    return x[:, :, None] if x.dim() == 3 else x


def _last(x: Any) -> Any:
    """(1, C, F, T) -> (1, F, T, C)."""
    return x.movedim(1, -1)


def _first(x: Any) -> Any:
    """(1, F, T, C) -> (1, C, F, T)."""
    return x.movedim(-1, 1)


def _convolve(conv: Any, x: Any, weight: Any, bias: Any) -> Any:
    """A Conv1d or Conv2d with some of its channels, on (1, C, F, T)."""
    from torch.nn import functional

    stride, padding = conv.stride, conv.padding
    if weight.dim() == 3:
        weight, stride, padding = weight[:, :, None], (1, *stride), (0, *padding)
    return functional.conv2d(x, weight, bias, stride=stride, padding=padding)


def _residual(dconv: Any, x: Any) -> Any:
    """`DConv.forward` on (1, C, F, T); each frequency is normalised by itself."""
    from torch.nn import functional

    if not dconv:
        return x
    x = _last(x)
    for narrow, norm, act, wide, wide_norm, _glu, scale in dconv.layers:
        y = act(_group_norm(norm, _along_time(narrow, x)))
        y = _group_norm(wide_norm, functional.linear(y, wide.weight[:, :, 0], wide.bias))
        first, second = y.chunk(2, dim=-1)
        x = x + scale.scale * first * second.sigmoid()
    return _first(x)


def _along_time(conv: Any, x: Any) -> Any:
    """A Conv1d of a few outputs over the second to last axis of (..., T, C), without its layout.

    All taps are multiplied at once; their products are shifted and added.
    """
    from torch.nn import functional

    outputs, _, taps = conv.weight.shape
    weight = conv.weight.permute(2, 0, 1).flatten(0, 1)
    padding, length = conv.padding[0], x.shape[-2]
    y = functional.pad(functional.linear(x, weight), (0, 0, padding, padding))
    total = conv.bias
    for tap in range(taps):
        start = tap * conv.dilation[0]
        total = total + y[..., start : start + length, tap * outputs : (tap + 1) * outputs]
    return total


def _halves(conv: Any, x: Any) -> tuple[Any, Any]:
    """The two halves of a convolution's channels, each computed by itself: no copies to split."""
    weights, biases = conv.weight.chunk(2), conv.bias.chunk(2)
    return _convolve(conv, x, weights[0], biases[0]), _convolve(conv, x, weights[1], biases[1])


def _upsample(conv: Any, x: Any, act: Callable[[Any], Any]) -> Any:
    """A transposed convolution of twice its stride and `act`, as a convolution of two taps.

    Each block of `stride` outputs depends on two inputs; the block is computed as channels. The
    convolution of oneDNN in the other direction adds up in float32, in memory of its own. Of a
    spectrum (1, C, F, T), frequencies are upsampled; of a wave (1, C, 1, T), samples.
    """
    from torch.nn import functional

    kernel, stride, outputs = conv.kernel_size[0], conv.stride[0], conv.out_channels
    is_wave = conv.weight.dim() == 3
    if kernel != 2 * stride:
        return act(_flat(conv(x.squeeze(2))) if is_wave else conv(x))
    # (in, out, two blocks, stride) -> (stride, out, in, two taps), the later input first.
    taps = conv.weight.reshape(-1, outputs, 2, stride).permute(3, 1, 0, 2).flip(3)
    sides = (1, 2) if is_wave else (2, 1)
    weight = taps.reshape(stride * outputs, -1, *sides)
    padding = tuple(side - 1 for side in sides)
    y = _last(act(functional.conv2d(x, weight, conv.bias.repeat(stride), padding=padding)))
    if is_wave:
        return _first(y.reshape(1, 1, -1, outputs))
    _, rows, frames, _ = y.shape
    y = y.reshape(rows, frames, stride, outputs).transpose(1, 2)
    return _first(y.reshape(1, -1, frames, outputs))


def _group_norm(self: Any, x: Any) -> Any:
    """A GroupNorm of one group over the last two axes, (..., T, C)."""
    from torch.nn import functional

    y = functional.layer_norm(x, x.shape[-2:], eps=self.eps)
    return y * self.weight + self.bias if self.affine else y
