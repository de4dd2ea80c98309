"""Group normalisation of long rows, which PyTorch computes on a small part of a CUDA device.

PyTorch's kernel gives each group to one block of threads. Demucs has layers with one group of
millions of values for each window, so that a batch of eight occupies eight of a hundred
multiprocessors. PyTorch's reductions divide a row among all of them.
"""

from functools import partial
from typing import Any


def spread_group_norms(network: Any) -> None:
    """Let the group normalisations of a network divide long rows; in place."""
    from torch import nn

    for module in network.modules():
        if type(module) is nn.GroupNorm and module.affine:
            module.forward = partial(normalise, module)


def normalise(norm: Any, values: Any) -> Any:
    """What `norm`, a `torch.nn.GroupNorm`, gives for values (batch, channels, ...), in float32."""
    import torch

    batch, channels = values.shape[:2]
    values = values.float()
    rows = values.reshape(batch * norm.num_groups, -1)
    variance, mean = torch.var_mean(rows, dim=1, correction=0)
    each = channels // norm.num_groups
    scale = torch.rsqrt(variance + norm.eps).repeat_interleave(each).view(batch, channels)
    scale = scale * norm.weight
    shift = norm.bias - mean.repeat_interleave(each).view(batch, channels) * scale
    shape = (batch, channels) + (1,) * (values.ndim - 2)
    return torch.addcmul(shift.view(shape), values, scale.view(shape))
