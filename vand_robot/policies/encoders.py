"""The layers between the observation and the recurrent core."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vand_robot.config.schema import Activation

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "relu": nn.ReLU,
}


def make_encoder(
    in_features: int, sizes: Sequence[int], activation: Activation, *, layer_norm: bool
) -> nn.Sequential:
    """A small perceptron: linear, layer norm if asked for, activation, for each size.

    Args:
        in_features: Numbers in a normalized observation, D.
        sizes: Units of each layer; empty for none, and then the core sees the observation itself.
        activation: The nonlinearity.
        layer_norm: Whether to normalize over units before the nonlinearity.

    Returns:
        Module from (..., D) to (..., F), F the last of `sizes`.
    """
    layers: list[nn.Module] = []
    for width, size in pairwise((in_features, *sizes)):
        layers.append(nn.Linear(width, size))
        layers += [nn.LayerNorm(size)] if layer_norm else []
        layers.append(_ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


HALVINGS = 2
"""The first layers halve the image; the others keep its size."""

CHUNK = 64
"""Images that go through the network together. The layers' activations of more images do not fit
the processor's caches, and take memory that must be kept for the backward pass."""


class SpatialSoftArgmax(nn.Module):
    """Where each channel of a feature map is active.

    A channel's softmax over the map is a distribution over places; its mean is the feature's
    position, with less than a cell's error and a gradient everywhere (Finn et al. 2016, "Deep
    spatial autoencoders for visuomotor learning"). The temperature is learned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.zeros(()))

    def forward(self, maps: Tensor) -> Tensor:
        """Find the positions.

        Args:
            maps: (M, C, H, W).

        Returns:
            (M, 2 C): x and y of each channel, -1 at the left and upper edge and 1 at the right and
            lower one.
        """
        height, width = maps.shape[-2:]
        flat = maps.flatten(2) * self.log_sharpness.exp()  # (M, C, H W)
        y, x = torch.meshgrid(_places(height, maps), _places(width, maps), indexing="ij")
        grid = torch.stack([x.flatten(), y.flatten()], 1)  # (H W, 2)
        return (flat.softmax(-1) @ grid).flatten(1)


def _places(count: int, like: Tensor) -> Tensor:
    """Centers of `count` cells between -1 and 1."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) * (2 / count) - 1


class ImageEncoder(nn.Module):
    """A small convolutional network with spatial soft-argmax, for the images of one camera.

    Args:
        channels: Channels of each layer, C the last.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (into, out) in enumerate(pairwise((3, *channels))):
            size = 3 if i else 5
            stride = 2 if i < HALVINGS else 1
            layers += [nn.ReLU(inplace=True)] if i else []
            layers.append(nn.Conv2d(into, out, size, stride, size // 2))
        self.layers = nn.Sequential(*layers, SpatialSoftArgmax())
        self.features = 2 * channels[-1]
        """Numbers that an image becomes, F."""

    def forward(self, images: Tensor) -> Tensor:
        """Encode images, (M, H, W, 3) uint8 -> (M, F).

        With gradients, the activations of each chunk are computed anew in the backward pass: a
        batch of whole episodes has thousands of images.
        """
        if torch.compiler.is_exporting():  # whatever number of images comes, all at once
            return self._encode(images)
        if not torch.is_grad_enabled() or len(images) <= CHUNK:
            return torch.cat([self._encode(part) for part in torch.split(images, CHUNK)])
        return torch.cat(
            [
                cast(
                    "Tensor",
                    checkpoint(self._encode, part, use_reentrant=False, preserve_rng_state=False),
                )
                for part in torch.split(images, CHUNK)
            ]
        )

    def _encode(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).float().div_(255).sub_(0.5)  # (M, 3, H, W)
        return cast("Tensor", self.layers(pixels))


def shift(images: Tensor, pixels: int, rows: Tensor | None = None, whole: int = 0) -> Tensor:
    """Move each image by a random number of pixels, up to `pixels` along each axis.

    Pixels that come into view repeat the edge (Yarats et al. 2021, "Image augmentation is all you
    need: regularizing deep reinforcement learning from pixels").

    Args:
        images: (M, H, W, 3).
        pixels: Largest shift.
        rows: (M,) places of these images among those of a larger batch that shifts are drawn for;
            None: they are all.
        whole: Images of that batch.

    Returns:
        (M, H, W, 3).
    """
    count, height, width, _ = images.shape
    device = images.device
    drawn = count if rows is None else whole
    by = torch.randint(-pixels, pixels + 1, (2, drawn, 1), device=device)
    by = by if rows is None else by[:, rows.to(device)]
    rows = (torch.arange(height, device=device) + by[0]).clamp_(0, height - 1)  # (M, H)
    columns = (torch.arange(width, device=device) + by[1]).clamp_(0, width - 1)  # (M, W)
    each = torch.arange(count, device=device)[:, None, None]
    return images[each, rows[:, :, None], columns[:, None, :]]
