"""Camera images of demonstrations, left in their files until a batch needs them."""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from vand_demos import DemoDataset
from vand_envs.errors import UsageError, VandError, unknown_name
from vand_robot.data.files import DataFiles


def image_sizes(dataset: DemoDataset, name: str, keys: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The size of the images that an episode holds.

    Args:
        dataset: An open data set.
        name: The episode.
        keys: Image observations.

    Returns:
        Key -> (height, width) [pixel], in the order of `keys`.

    Raises:
        UsageError: It holds no such images.
    """
    shapes = dataset.observation_shapes(name)
    images = {key: shape[:2] for key, shape in shapes.items() if len(shape) == 3}
    for key in keys:
        if not images:
            raise UsageError(
                f"{dataset.path}: {name} has no images, and the policy shall see {key!r};"
                f" vand-robot demos augment draws them"
            )
        if key not in images:
            raise unknown_name("image observation", key, images)
    return {key: (images[key][0], images[key][1]) for key in keys}


class ImageStore:
    """The images of episodes, which stay in their files and are read batch by batch.

    Args:
        files: The data sets.
        episodes: Path of the data set and name of each, E.
        sizes: Image observation -> (height, width) [pixel].

    Raises:
        UsageError: An episode lacks an image.
        VandError: An episode's images are of another size.
    """

    def __init__(
        self,
        files: DataFiles,
        episodes: Sequence[tuple[str, str]],
        sizes: Mapping[str, Sequence[int]],
    ) -> None:
        self._files, self._episodes = files, episodes
        self.sizes = {key: (size[0], size[1]) for key, size in sizes.items()}
        shapes = {f"obs/{key}": (*size, 3) for key, size in self.sizes.items()}
        for path, name in episodes:
            with files.use(path) as dataset:
                if all(dataset.step_shape(name, key) == shape for key, shape in shapes.items()):
                    continue  # a look at those alone takes a tenth of the time
                got = image_sizes(dataset, name, tuple(self.sizes))
            if got != self.sizes:
                raise VandError(f"{path}: {name}: images of {got}, beside others of {self.sizes}")

    def read(self, episodes: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Read the images of a batch.

        Args:
            episodes: (B,) indices, the longest episode first.
            lengths: (B,) their lengths, descending.

        Returns:
            Key -> (S, H, W, 3) uint8: the first step of every episode, then the second, ...

        Raises:
            VandError: They cannot be read, or are no images.
        """
        running = torch.arange(int(lengths[0]), device="cpu")[:, None] < lengths  # (T, B)
        first = running.sum(1).cumsum(0) - running.sum(1)  # (T,), row of each step's first episode
        images = {
            key: np.empty((int(lengths.sum()), *size, 3), np.uint8)
            for key, size in self.sizes.items()
        }
        for place, (episode, length) in enumerate(
            zip(episodes.tolist(), lengths.tolist(), strict=True)
        ):
            path, name = self._episodes[episode]
            rows = (first[:length] + place).numpy()
            for key, image in images.items():
                with self._files.use(path) as dataset:
                    stored = dataset.array(name, f"obs/{key}")
                if stored.dtype != image.dtype or stored.shape != (length, *image.shape[1:]):
                    expected = f"expected {(length, *image.shape[1:])} uint8"
                    got = f"{stored.shape} {stored.dtype}"
                    raise VandError(f"{path}: {name}: obs/{key}: {expected}, got {got}")
                image[rows] = stored
        return {key: torch.from_numpy(image) for key, image in images.items()}

    @property
    def fingerprint(self) -> str:
        """Hash of all images as they are stored."""
        digest = sha256()
        for path, name in self._episodes:
            with self._files.use(path) as dataset:
                for key in self.sizes:
                    digest.update(dataset.digest(name, f"obs/{key}").encode())
        return digest.hexdigest()
