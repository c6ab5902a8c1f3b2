"""Camera images of demonstrations, drawn from the states that were recorded.

Recording with images and adding them later is one thing: an expert does not look at images, so
both draw a finished episode.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from vand_demos.embedded import world_of
from vand_demos.episode import Episode
from vand_demos.storage.layout import require_new
from vand_demos.storage.reader import DemoDataset
from vand_demos.storage.writer import (
    StoredEpisode,
    append,
    create,
    encode_episode,
    rewriting,
    write_splits,
)
from vand_demos.system.files import file_path
from vand_envs.cameras import Cameras, ImageSizes, image_sizes
from vand_envs.errors import UsageError, VandError


def with_images(episode: Episode, cameras: Cameras) -> Episode:
    """The same recording with what cameras saw before each action.

    Args:
        episode: The episode, with states of the world that the cameras are in.
        cameras: The cameras; without any, the episode stays as it is.

    Raises:
        VandError: It has no states to draw, or has such images already.
    """
    if not cameras.sizes:
        return episode
    if episode.states is None:
        raise VandError(f"{episode.label}: recorded without states, so nothing tells what was seen")
    for key in cameras.sizes:
        if key in episode.observations:
            raise VandError(f"{episode.label}: obs/{key} is there already")
    images = cameras.render(episode.states)
    for image in images.values():
        image.setflags(write=False)  # an episode copies what others could write to
    return replace(episode, observations={**episode.observations, **images})


def augment(
    path: str | Path,
    out: str | Path,
    sizes: Mapping[str, Sequence[int]],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[str, ...]:
    """Write a data set as it would be had it been recorded with images.

    The new file appears when it is whole, so it can be stopped at any time. Names, splits and
    identities of the episodes stay.

    Args:
        path: A data set with states.
        out: The new data set.
        sizes: Images to add, `"head_rgb"` or `"wrist_rgb"` -> (height, width) [pixel].
        overwrite: Whether to replace a file that exists.
        progress: Called after each episode with the episodes done and all.

    Returns:
        The names of the episodes.

    Raises:
        UsageError: There is no such file or camera, no image is asked for, or `out` exists and is
            not to be replaced.
        VandError: An episode has no states, its world is refused, or it has such images already;
            nothing can be rendered here; or the disk is full.
    """
    wanted = image_sizes(sizes)
    if not wanted:
        raise UsageError("no image observation is asked for, such as head_rgb")
    out = file_path(out)
    with DemoDataset.open(path, guarded=True) as dataset, rewriting(out) as temporary:
        require_new(out, overwrite=overwrite)
        kwargs = dataset.env_args["env_kwargs"]
        cameras = {**kwargs.get("cameras", {}), **wanted}
        env_args = {**dataset.env_args, "env_kwargs": {**kwargs, "cameras": cameras}}

        def sources() -> Iterator[StoredEpisode]:
            for done, episode in enumerate(_drawn(dataset, wanted), start=1):
                later = bool(episode.next_observations)
                image = encode_episode(episode, env_args, next_observations=later)
                yield replace(StoredEpisode.of_bytes(image), new_name=episode.name)
                if progress is not None:
                    progress(done, len(dataset))

        create(temporary, env_args)
        append(temporary, sources())
        if dataset.splits:
            write_splits(temporary, {split: dataset.split(split) for split in dataset.splits})
    return dataset.names


def _drawn(dataset: DemoDataset, sizes: ImageSizes) -> Iterator[Episode]:
    """Every episode with images, each drawn in the world that it was recorded in."""
    cameras: Cameras | None = None
    with ExitStack() as stack:
        for episode in dataset:
            model = world_of(episode).model
            if cameras is None or cameras.model is not model:
                stack.close()
                cameras = stack.enter_context(closing(Cameras(model, sizes)))
            yield with_images(episode, cameras)
