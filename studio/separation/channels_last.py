"""HTDemucs rearranged for a CPU: the same arithmetic on tensors whose channels come last.

The convolutions of oneDNN want channels last. Demucs's layers move frequencies into the batch and
back around their residual branches, which such tensors need not; the graph converter cannot see
that. Layers of shapes that are not known here stay as they are.
"""

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
    """`HEncLayer.forward`: (1, C, F, T) or (1, C, T), by layer."""
    from torch.nn import functional

    if not self.freq:
        if x.dim() == 4:
            x = x.view(x.shape[0], -1, x.shape[-1])
        if missing := -x.shape[-1] % self.stride:
            x = functional.pad(x, (0, missing))
    y = self.conv(x)
    if inject is not None:
        y = y + (inject[:, :, None] if inject.dim() < y.dim() else inject)
    y = _residual(self.dconv, functional.gelu(y))
    first, second = _halves(self.rewrite, y)
    return first * second.sigmoid()


def _decode(self: Any, x: Any, skip: Any, length: int) -> tuple[Any, Any]:
    """`HDecLayer.forward`: (1, C, F, T) or (1, C, T), by layer."""
    from torch.nn import functional

    if self.freq and x.dim() == 3:
        x = x.view(x.shape[0], self.chin, -1, x.shape[-1])
    first, second = _halves(self.rewrite, x + skip)
    y = _residual(self.dconv, first * second.sigmoid())
    if self.freq:
        z = self.conv_tr(y)
        if self.pad:
            z = z[..., self.pad : -self.pad, :]
    else:
        z = _upsample(self.conv_tr, y)[..., self.pad : self.pad + length]
    return z if self.last else functional.gelu(z), y


def _last(x: Any) -> Any:
    """(1, C, ...) -> (1, ..., C)."""
    return x.movedim(1, -1)


def _first(x: Any) -> Any:
    """(1, ..., C) -> (1, C, ...)."""
    return x.movedim(-1, 1)


def _residual(dconv: Any, x: Any) -> Any:
    """`DConv.forward` on (1, C, F, T) or (1, C, T); each frequency is normalised by itself."""
    from torch.nn import functional

    if not dconv:
        return x
    for narrow, norm, act, wide, wide_norm, _glu, scale in dconv.layers:
        y = act(_group_norm(norm, _last(_along_time(narrow, x))))
        y = _group_norm(wide_norm, functional.linear(y, wide.weight[:, :, 0], wide.bias))
        first, second = y.chunk(2, dim=-1)
        x = _first(_last(x) + scale.scale * first * second.sigmoid())
    return x


def _along_time(conv: Any, x: Any) -> Any:
    """A Conv1d over the last axis of (1, C, T) or of each frequency of (1, C, F, T)."""
    from torch.nn import functional

    if x.dim() == 3:
        return conv(x)
    return functional.conv2d(
        x,
        conv.weight[:, :, None],
        conv.bias,
        padding=(0, conv.padding[0]),
        dilation=(1, conv.dilation[0]),
    )


def _halves(conv: Any, x: Any) -> tuple[Any, Any]:
    """The two halves of a convolution's channels, each computed by itself: no copies to split."""
    from torch.nn import functional

    convolve = functional.conv1d if x.dim() == 3 else functional.conv2d
    first, second = (
        convolve(x, weight, bias, padding=conv.padding)
        for weight, bias in zip(conv.weight.chunk(2), conv.bias.chunk(2), strict=True)
    )
    return first, second


def _upsample(conv: Any, x: Any) -> Any:
    """A ConvTranspose1d of twice its stride as a convolution of two taps.

    Each block of `stride` outputs depends on two inputs; the block is computed as channels.
    """
    from torch.nn import functional

    (kernel,), (stride,) = conv.kernel_size, conv.stride
    if kernel != 2 * stride or x.shape[0] != 1:
        return conv(x)
    outputs = conv.out_channels
    # (in, out, two blocks, stride) -> (stride, out, in, two taps), the later input first.
    taps = conv.weight.view(-1, outputs, 2, stride).permute(3, 1, 0, 2).flip(3)
    bias = conv.bias.repeat(stride)
    y = functional.conv1d(x, taps.reshape(stride * outputs, -1, 2), bias, padding=1)
    return _first(_last(y).reshape(1, -1, outputs))


def _group_norm(self: Any, x: Any) -> Any:
    """A GroupNorm of one group over the last two axes, (..., T, C)."""
    from torch.nn import functional

    y = functional.layer_norm(x, x.shape[-2:], eps=self.eps)
    return y * self.weight + self.bias if self.affine else y
