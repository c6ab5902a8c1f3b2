"""Object attention: the memory chooses an object, and the action follows from its position."""

import torch
from torch import Tensor, nn

from vand_demos.native import NATIVE
from vand_envs.errors import UsageError, unknown_name
from vand_robot.config.schema import AUTO, PolicyConfig
from vand_robot.interface import PolicySpec

CLOSE_SUFFIX = "_rel"
"""Ends the keys of positions relative to the end effector, which are seen at close range too."""


class ObjectAttention(nn.Module):
    """Soft attention over the positions of objects, directed by the state of the core.

    "Go to B" is a product: of a choice, which is remembered, and of a position, which is seen. A
    recurrent cell that adds the two before its nonlinearity has to approximate such a product with
    many units for each object that it may go to. Here it is one: each head weighs the positions by
    a softmax of the core's output, and a layer sees the core's output and the positions that the
    heads look at.

    Args:
        hidden_size: Units of the core's output, H.
        objects: Objects whose positions are seen, J.
        numbers: Numbers that tell where an object is, P.
        heads: Objects that can be looked at at once, K.
    """

    def __init__(self, hidden_size: int, objects: int, numbers: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.choice = nn.Linear(hidden_size, heads * objects)
        self.layer = nn.Linear(hidden_size + heads * numbers, hidden_size)

    def forward(self, output: Tensor, positions: Tensor) -> Tensor:
        """Combine the memory with the positions that it looks at.

        Args:
            output: (N, H) output of the core.
            positions: (N, J, P) where objects are.

        Returns:
            (N, H) features.
        """
        weights = self.weights(output)  # (N, K, J)
        seen = torch.matmul(weights, positions).flatten(1)  # (N, K P)
        return torch.tanh(self.layer.forward(torch.cat([output, seen], -1)))

    def weights(self, output: Tensor) -> Tensor:
        """How much each head looks at each object, (N, K, J); sums to 1 over objects."""
        return torch.softmax(self.choice.forward(output).view(output.shape[0], self.heads, -1), -1)


def attended_keys(config: PolicyConfig, spec: PolicySpec) -> list[str]:
    """The keys that tell where an object is, in the order of the observations.

    Raises:
        UsageError: One that is named is not seen, or they are of unlike sizes.
    """
    if config.objects == AUTO:
        own = spec.action_mode != NATIVE
        return [key for key in spec.observations if own and key.endswith(CLOSE_SUFFIX)]
    for key in config.objects:
        if key not in spec.observations:
            raise unknown_name("value of policy.objects:", key, spec.observations)
    sizes = {spec.observations[key] for key in config.objects}
    if len(sizes) > 1:
        told = ", ".join(f"{key} {spec.observations[key]}" for key in config.objects)
        raise UsageError(f"policy.objects: expected keys of one size, got {told}")
    return [key for key in spec.observations if key in config.objects]
