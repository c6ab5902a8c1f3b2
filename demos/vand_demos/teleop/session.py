"""A teleoperation session: commands move the robot; events begin, save and discard episodes.

Nothing here knows the time: the states are a function of seed and commands alone.
"""

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vand_demos.episode import Episode
from vand_demos.episode_builder import EpisodeBuilder
from vand_demos.experts.expert import Expert, make_expert
from vand_demos.storage.recorder import Recorder
from vand_demos.teleop.device import Command, Event
from vand_demos.teleop.guide import next_hint
from vand_demos.teleop.status import Phase, Status
from vand_envs import TaskBatch
from vand_envs.controller import ActionMode
from vand_envs.errors import VandError
from vand_envs.typing import FloatArray

MAX_EPISODE_S = 600.0
"""An episode is paused when it gets this long [s]: somebody forgot it."""


class TeleopSession:
    """One robot driven by commands, and the episodes that come of it.

    The clock of an episode begins with the first motion, and standing still at its end is cut off
    when it is saved: how long a person looks for a button must not be learnt. What was done and is
    then undone, like a hand that leaves the board on its way to that button, is cut off as well.

    Args:
        batch: A batch of one, in mode `ee_twist`.
        recorder: Where good episodes go.
        device: Name of the device, as it is recorded.
        seed: Seed of the first episode; those after it have the next ones.
        wanted: Episodes to record.
        action_mode: What `actions` of the episodes holds.
        speed_limit: Share of full speed that no command exceeds.
        keep_failures: Whether an episode that is not done can be saved, marked as a failure.
        finish: What is done to an episode before it is saved.
    """

    def __init__(
        self,
        batch: TaskBatch,
        recorder: Recorder,
        *,
        device: str,
        seed: int,
        wanted: int,
        action_mode: ActionMode = "ee_twist",
        speed_limit: float = 1.0,
        keep_failures: bool = False,
        finish: Callable[[Episode], Episode] = lambda episode: episode,
    ) -> None:
        self.batch = batch
        self.finished = False
        """Whether the operator has quit."""
        self.attempts = 0
        """Episodes driven, for one step at least."""
        self._recorder, self._device, self._wanted = recorder, device, wanted
        self._action_mode, self._speed_limit = action_mode, speed_limit
        self._keep_failures, self._finish = keep_failures, finish
        self._seeds = count(seed)
        self._message = ""
        self._begin(next(self._seeds))

    def follow(self, command: Command) -> None:
        """Do what was asked for, then move for one control step if the robot is to move."""
        for event in command.events:
            self._obey(event)
        if self.phase == "showing":
            self._demonstrate()
            return
        if self.phase == "driving" and not command.present:
            self._pause("The controls are gone, so the robot stopped. Nothing is lost.")
        self.before = self.after
        if self.phase != "driving" or not (command.moves or len(self._trace)):
            return
        self._move(command)
        if self.time_s >= MAX_EPISODE_S:
            self._pause(f"An episode ends after {MAX_EPISODE_S:g} s.")

    @property
    def time_s(self) -> float:
        """Time driven in this episode [s]."""
        return len(self._trace) * self.batch.control_dt_s

    def status(self, rate_hz: float = 0.0, measured_hz: float = 0.0) -> Status:
        """State of the session, for the operator.

        Args:
            rate_hz: Control rate that was asked for [Hz].
            measured_hz: Control rate that is held [Hz].
        """
        task, progress = self.batch.task, self.batch.progress
        cycle = task.cycle
        hint = next_hint(self.batch, self._observation)
        return Status(
            instruction=task.instruction,
            phase=self.phase,
            message=self._message,
            time_s=self.time_s,
            stage_names=task.stage_names,
            stages_done=int(progress.stages_done[0]),
            cycle_name=cycle.name if cycle else None,
            cycles=float(progress.cycles[0]),
            cycles_needed=(task.count or cycle.min_cycles) if cycle else 0,
            success=self._good > 0,
            saved=self._recorder.saved,
            wanted=self._wanted,
            total=len(self._recorder),
            hint=hint.text,
            target=hint.target,
            contact=hint.contact,
            judged_by_person=task.judged_by_person,
            quitting=self._unsaved_quit,
            rate_hz=rate_hz,
            measured_hz=measured_hz,
        )

    def _begin(self, seed: int) -> None:
        self._observation = self.batch.reset([seed])
        self._trace = EpisodeBuilder(seed, _row(self._observation))
        self._expert: Expert | None = None
        self.phase: Phase = "ready"
        self.before = self.after = self._state()
        self._kept = 0  # steps up to the last motion or achievement
        self._good = 0  # steps up to the last moment at which the task was done
        self._gripper: float | None = None
        self._done = False
        self._unsaved_quit = False

    def _state(self) -> FloatArray:
        state: FloatArray = self.batch.state[0].copy()
        return state

    def _move(self, command: Command) -> None:
        batch = self.batch
        action = command.action(self._speed_limit, batch.world.robot)[None]  # (1, A)
        parts = batch.controller.parts(action)
        self._observation = observation = batch.step(action)
        reward = float(batch.reward[0])
        self._trace.add(
            self.before,
            _row(parts),
            reward,
            _row(observation),
        )
        self.attempts += len(self._trace) == 1
        done = bool(batch.progress.at_end[0])
        if command.moves or reward or command.gripper != self._gripper or done > self._done:
            self._kept = len(self._trace)
            self._good = self._kept if done else self._good
        self._gripper, self._done = command.gripper, done
        self.after = self._state()

    def _pause(self, why: str) -> None:
        self.phase, self._message = "paused", why

    def _obey(self, event: Event) -> None:
        self._unsaved_quit = self._unsaved_quit and event == "quit"
        if self.phase == "showing":
            self._begin(self._trace.seed)
            self._say("")
            if event in ("show", "start"):
                return
        obey: dict[Event, Callable[[], Any]] = {
            "start": self._start,
            "save": self._save,
            "fail": self._fail,
            "discard": self._discard,
            "undo": self._undo,
            "reset": self._reset,
            "show": self._show,
            "quit": self._quit,
        }
        try:
            obey[event]()
        except VandError as error:
            if self.phase == "driving":
                self.phase = "paused"
            self._message = str(error)

    def _say(self, message: str) -> None:
        self._message = message

    def _start(self) -> None:
        if self.phase == "driving":
            self._pause("Paused.")
        elif self.time_s >= MAX_EPISODE_S:
            self._say(f"This episode is {MAX_EPISODE_S:g} s long and cannot go on.")
        else:
            self.phase, self._message = "driving", ""

    def _save(self) -> None:
        by_person = self.batch.task.judged_by_person
        success = by_person or self._good > 0
        if len(self._trace) and not success and not self._keep_failures:
            self._pause(f"It is not done yet, so it was not saved. Missing: {self.status().goal}.")
            return
        self._keep(success=success)

    def _fail(self) -> None:
        if not self.batch.task.judged_by_person:
            self._say("Here the task says whether it is done: save or discard.")
            return
        self._keep(success=False)

    def _keep(self, *, success: bool) -> None:
        if not len(self._trace):
            self._say("There is nothing to save yet.")
            return
        by_person = self.batch.task.judged_by_person
        steps = self._good if success and not by_person else self._kept
        if success and by_person:
            self._trace.rewards[steps - 1] = 1.0  # of the step that was the last one needed
        episode = self._trace.episode(
            self.batch,
            action_mode=self._action_mode,
            device=self._device,
            success=success,
            steps=steps,
        )
        self._recorder.save(self._finish(episode))
        kind = "Saved" if success else "Saved as a failure"
        self._begin(next(self._seeds))
        self._say(f"{kind}: {len(episode) * self.batch.control_dt_s:.1f} s.")

    def _discard(self) -> None:
        driven = len(self._trace) > 0
        self._begin(next(self._seeds))
        self._say("Discarded." if driven else "Another start.")

    def _undo(self) -> None:
        total = self._recorder.undo()
        self._say(f"The last saved episode is removed; {total} are left in the data set.")

    def _reset(self) -> None:
        self._begin(self._trace.seed)
        self._say("The same start again.")

    def _show(self) -> None:
        if self.batch.task.judged_by_person:
            self._say("Nobody has taught this yet, so there is nothing to show.")
            return
        if len(self._trace):
            self._pause("Save or discard this episode first: it is shown from its start.")
            return
        self._expert = make_expert(
            self.batch.task.id,
            self._trace.seed,
            self.batch.control_dt_s,
            robot=self.batch.world.robot,
        )
        self.phase, self._message = "showing", "The expert does it once; nothing is recorded."

    def _demonstrate(self) -> None:
        """One step of the expert's; after the last one, the operator's turn from the same start."""
        label = None if self._expert is None else self._expert.act(_row(self._observation))
        if label is None:
            self._begin(self._trace.seed)
            self._say("That was it. Now it is your turn, from the same start.")
            return
        self.before = self.after
        self._observation = self.batch.step(np.asarray(label, np.float32)[None])
        self.after = self._state()

    def _quit(self) -> None:
        if len(self._trace) and not self._unsaved_quit:
            self._pause(
                "This episode is not saved. Save it first, or ask once more: that drops it and ends"
                " the session; what was saved before stays."
            )
            self._unsaved_quit = True
            return
        self.finished = True


def _row(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The first episode's part of arrays of n episodes."""
    return {key: value[0] for key, value in arrays.items()}
