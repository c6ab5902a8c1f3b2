"""Mean and spread of observations, one episode after the other."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and spread of a set of observations (M, D).

    They are joined episode by episode, in their order, so that it makes no difference to the last
    bit whether the episodes are in memory or on the disk. Chan, Golub, LeVeque: "Updating formulae
    and a pairwise algorithm for computing sample variances", 1979.
    """

    count: int
    """M."""
    mean: Tensor
    """(D,) float64."""
    deviations: Tensor
    """(D,) float64, sum of the squared deviations from the mean."""

    @classmethod
    def of(cls, observations: NDArray[np.float32]) -> Self:
        """Those of one episode (N, D)."""
        x = observations.astype(np.float64)
        mean = x.mean(0)
        return cls(len(x), torch.from_numpy(mean), torch.from_numpy(np.square(x - mean).sum(0)))

    def joined(self, other: "Moments") -> "Moments":
        """Those of both sets together."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return Moments(
            count,
            self.mean + apart * (other.count / count),
            self.deviations
            + other.deviations
            + apart.square() * (self.count * other.count / count),
        )

    @property
    def std(self) -> Tensor:
        """(D,) float64, standard deviation."""
        return (self.deviations / self.count).sqrt()
