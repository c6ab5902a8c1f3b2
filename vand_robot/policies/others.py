"""Policies of other projects, on a server or in a module, behind our policy interface."""

import importlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vand_envs.errors import UsageError, VandError
from vand_envs.typing import Float32Array
from vand_robot.interface import PolicySpec
from vand_robot.policies.exported import spec_of
from vand_robot.policies.mapping import ImageMapping, PolicyMapping
from vand_robot.runtime.errors import FOREIGN_ERRORS, PolicyError, PolicyUsageError, in_words
from vand_robot.runtime.remote import INTERFACE, RemotePolicy

SIDE_BY_SIDE = 8
"""Requests to a server at once."""
ANSWER_S = 60.0
"""How long a server may take for an answer [s]."""


class EpisodePolicy(Protocol):
    """Another project's policy in one episode: openpi's `infer`, and `reset`."""

    def reset(self) -> None:
        """Begin an episode."""
        ...

    def infer(self, observation: Mapping[str, Any]) -> Any:
        """Answer an observation: actions, or a mapping that holds them."""
        ...


@dataclass(eq=False)
class OthersEpisode:
    """One episode of a policy: whoever acts, and what is left of its latest chunk."""

    policy: EpisodePolicy
    """Who acts."""
    waiting: list[NDArray[np.float32]] = field(default_factory=list)
    """Actions of the latest chunk that are still to be carried out, (A,) each."""
    begun: bool = False
    """Whether it has answered already."""


@dataclass(frozen=True, eq=False)
class OthersState:
    """Episodes that advance together."""

    rows: tuple[int, ...]
    """The row of each in the batch; those between are copies of the one before."""
    episodes: tuple[OthersEpisode, ...]
    """As many."""


class OthersPolicy:
    """Rolls out a policy that acts in one episode at a time: each episode gets one of its own.

    Args:
        make: Makes a policy for an episode.
        mapping: Between our observations and actions and its.
        spec: Its interface in our terms; that of the mapping by default.
        parallel: Whether episodes are asked side by side: a server that takes them.
    """

    def __init__(
        self,
        make: Callable[[], EpisodePolicy],
        mapping: PolicyMapping,
        *,
        spec: PolicySpec | None = None,
        parallel: bool = False,
    ) -> None:
        self._make, self._mapping, self._parallel = make, mapping, parallel
        self.spec = mapping.spec() if spec is None else spec
        """Its observations and actions in our terms."""

    def act(
        self,
        observation: Mapping[str, NDArray[Any]],
        state: OthersState | None = None,
    ) -> tuple[Float32Array, OthersState]:
        """Choose actions (n, A); see `vand_robot.interface.Policy.act`.

        Raises:
            VandError: The policy fails, or answers with something else than actions.
        """
        n = len(next(iter(observation.values())))
        rows = [{key: value[i] for key, value in observation.items()} for i in range(n)]
        if state is None:
            own = tuple(i for i in range(n) if not i or not _same(rows[i], rows[i - 1]))
            state = OthersState(own, tuple(OthersEpisode(self._made()) for _ in own))
        seen = [rows[i] for i in state.rows]
        if self._parallel and len(seen) > 1:
            with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
                actions = list(pool.map(self._next, state.episodes, seen))
        else:
            actions = [self._next(e, row) for e, row in zip(state.episodes, seen, strict=True)]
        # copies follow their original
        which = np.searchsorted(state.rows, np.arange(n), side="right") - 1
        return np.stack(actions)[which], state

    def _made(self) -> EpisodePolicy:
        try:
            return self._make()
        except PolicyError as error:
            raise VandError(str(error)) from None
        except VandError:
            raise
        except FOREIGN_ERRORS as error:
            raise VandError(f"the policy cannot be made: {in_words(error)}") from error

    def _next(self, episode: OthersEpisode, row: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        if not episode.waiting:
            message = self._mapping.message(row, self.spec, first=not episode.begun)
            try:
                if not episode.begun:
                    episode.policy.reset()
                answer = episode.policy.infer(message)
            except PolicyError as error:
                raise VandError(str(error)) from None
            except VandError:
                raise
            except FOREIGN_ERRORS as error:
                raise VandError(f"the policy failed: {in_words(error)}") from error
            episode.begun = True
            episode.waiting = list(self._mapping.chunk(answer, self.spec.action_size))
        return episode.waiting.pop(0)


def _same(row: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    """Whether two rows of a batch are copies: batches are filled up with them."""
    return all(np.array_equal(row[key], other[key]) for key in row)


def connect(address: str, mapping: PolicyMapping | None) -> OthersPolicy:
    """The policy of a server that speaks openpi's protocol.

    Args:
        address: `ws://HOST:PORT`.
        mapping: Between our observations and actions and the server's; None for one of ours, which
            says itself what it sees, and else all of our observations by our names.

    Raises:
        VandError: Nobody answers there.
    """
    try:
        first = RemotePolicy(address)
        interface = first.interface if INTERFACE in first.metadata else None
        first.close()
    except PolicyError as error:
        kind = UsageError if isinstance(error, PolicyUsageError) else VandError
        raise kind(str(error)) from None
    make = partial(RemotePolicy, address, ANSWER_S)
    if mapping is not None or interface is None:
        return OthersPolicy(make, mapping or PolicyMapping(), parallel=True)
    ours = PolicyMapping(
        observations={key: (key,) for key in interface.observations},
        images={key: ImageMapping(key, size) for key, size in interface.images.items()},
        prompt=None,
    )
    return OthersPolicy(make, ours, spec=spec_of(interface), parallel=True)


def from_factory(name: str, mapping: PolicyMapping) -> OthersPolicy:
    """The policy of a module of one's own, `module:factory`.

    The factory, called for each episode, gives an object with `infer(observation)`, or a function
    of the observation; and `reset()` where it has one.

    Raises:
        UsageError: There is no such module or factory.
    """
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"policy: expected MODULE:FACTORY, got {name!r}")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except FOREIGN_ERRORS as error:
        raise UsageError(f"policy {name}: {in_words(error)}") from error
    return OthersPolicy(lambda: _Wrapped(name, factory()), mapping)


class _Wrapped:
    """An object of somebody's factory as an `EpisodePolicy`."""

    def __init__(self, name: str, made: Any) -> None:
        self._made = made
        self._infer = getattr(made, "infer", made)
        if not callable(self._infer):
            raise UsageError(f"policy {name}: what it makes has no method 'infer'")

    def reset(self) -> None:
        """Begin an episode."""
        reset = getattr(self._made, "reset", None)
        if callable(reset):
            reset()

    def infer(self, observation: Mapping[str, Any]) -> Any:
        """Answer an observation."""
        return self._infer(observation)
