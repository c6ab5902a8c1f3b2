"""Configuration of a training run.

The dataclasses are the schema of a run's YAML file, of `key=value` overrides and of the
configuration stored in a checkpoint (`vand_robot.config.validation` reads all three).
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from vand_envs.errors import UsageError
from vand_robot.config.validation import Amount, Count, Fraction
from vand_robot.nn import NoRegularizer, Ramp, Range, Regularizer, check_schedule
from vand_robot.policies.device import require_device_name

Cell = Literal[
    "elman", "gru", "lstm", "layernorm_elman", "layernorm_gru", "layernorm_lstm", "mingru", "lru"
]
"""A recurrent cell; the names of `vand_robot.nn.CELLS`."""
Activation = Literal["tanh", "silu", "relu"]
"""The nonlinearity of an encoder's layer."""
Precision = Literal["float32", "bfloat16"]
"""Type of products."""
AUTO: Final = "auto"
"""In place of a number of threads, the number that is fastest here; likewise of a device."""

# Upper bounds lie far above what is of use here, and below what torch dies of without a word.
Units = Annotated[int, Range(1, 8192, open_high=False)]
"""The width of a layer."""
Layers = Annotated[int, Range(1, 64, open_high=False)]
"""Layers on top of each other."""
Horizon = Annotated[float, Range(0, 3600, open_high=False)]
"""A time to look ahead [s]."""


@dataclass(frozen=True)
class EncoderConfig:
    """The perceptron between the observation and the recurrent core."""

    sizes: tuple[Units, ...] = (128,)
    """Units of each layer; empty: the core sees the normalized observation itself."""
    activation: Activation = "tanh"
    """The nonlinearity."""
    layer_norm: bool = True
    """Whether each layer is normalized over its units."""


@dataclass(frozen=True)
class ImageConfig:
    """The convolutional network between camera images and the encoder, one for each camera."""

    keys: tuple[str, ...] = ()
    """Image observations that the policy sees beside `observations`; empty: none."""
    channels: tuple[Units, ...] = (16, 32, 32)
    """Channels of each layer; the last layer's are the features whose positions are found."""
    shift_px: Annotated[int, Range(0)] = 0
    """Images are moved at random by up to this many pixels in training; 0: they are not. It makes
    a policy robust against how the camera is mounted, and less exact about where things are."""


@dataclass(frozen=True)
class FutureActionsConfig:
    """A second head that predicts actions to come, in training alone: it never acts.

    A cloned policy can tell the next action from its own motion, and so never learns what it must
    remember: which button comes next shows in the motion a moment after it was decided. What it
    will do in a second or three does not, and has to be known from memory. With a handful of
    demonstrations the memory learns those by heart instead: then leave it out.
    """

    horizons_s: tuple[Horizon, ...] = ()
    """How far ahead [s], rounded to control steps, for instance [0.5, 1, 1.5, 2, 3]; empty: no
    such head."""
    weight: Amount = 0.3
    """Weight of its negative log likelihood, which is summed over times and dimensions."""


@dataclass(frozen=True)
class MixtureConfig:
    """The mixture of Gaussians that `head: gmm` predicts actions by.

    robomimic draws a component at every step of an evaluation and adds noise of 1e-4 to its mean;
    that is `act: sample`, without the noise. Its means go through a tanh, and its floor of the
    spread is 1e-4; here means are linear, as those of `head: gaussian`, and the floor is `min_std`.
    """

    modes: Annotated[int, Range(1, 64, open_high=False)] = 5
    """Components."""
    act: Literal["mode", "sample"] = "mode"
    """What acts: the mean of the most likely component ("mode"), or that of one that is drawn by
    the components' weights at every step ("sample"). Draws follow from the episode's first
    observation and the step, so that the same episode gives the same actions."""


@dataclass(frozen=True)
class PolicyConfig:
    """The shape of a policy: encoder -> recurrent core -> action head."""

    cell: Cell = "gru"
    """The recurrent cell, see `vand_robot.nn`: those with layer normalization are several times
    slower, "mingru" and "lru" are linear in their state."""
    hidden_size: Units = 128
    """Units of each recurrent layer."""
    num_layers: Layers = 1
    """Recurrent layers, one on top of the other."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """The perceptron before the recurrent core."""
    regularizer: Regularizer = field(default_factory=NoRegularizer)
    """Recipe that acts on the recurrent state in training, see `vand_robot.nn`. In YAML its name
    and its options, `{name: vand, beta: 1e-3}`; a name stands for a recipe of `REGULARIZERS`."""
    attention_heads: Annotated[int, Range(0, 64, open_high=False)] = 2
    """Objects that the action can follow at once, chosen by the memory among `objects`; 0: the
    action is read off the memory alone. The attention looks through `near_field_scales_m`: without
    ranges it must be 0."""
    objects: Literal["auto"] | tuple[str, ...] = AUTO
    """Observation keys that tell where an object is, relative to the end effector [m], all of one
    size: they are seen at close range too, and the attention chooses among them. Empty: none. In
    place of them "auto": those that end in `_rel`, where the actions are those of a robot known
    here, and none where they are native."""
    future_actions: FutureActionsConfig = field(default_factory=FutureActionsConfig)
    """Prediction of later actions, as an exercise of memory."""
    observations: tuple[str, ...] = ()
    """Observation keys that the policy sees; empty: all that are not images."""
    images: ImageConfig = field(default_factory=ImageConfig)
    """The networks that see camera images."""
    observation_clip: Annotated[float, Range(1)] = 5.0
    """Normalized observations are clipped to plus or minus this [standard deviations]."""
    observation_std_floor: Annotated[float, Range(1e-6)] = 0.02
    """No observation is divided by less than this [its own unit]: numbers that barely vary in
    the demonstrations (the place of a table) are not blown up into a signal."""
    near_field_scales_m: tuple[Annotated[float, Range(1e-3)], ...] = (0.03, 0.12, 0.5)
    """Positions relative to the end effector are also seen through tanh(x / range) [m], the
    shortest of which resolves millimeters; empty: only as they are, and `attention_heads` must
    be 0."""
    head: Literal["gaussian", "gmm"] = "gaussian"
    """The distribution of actions: one Gaussian, or a mixture of them."""
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    """The mixture of `head: gmm`."""
    min_std: Annotated[float, Range(1e-3)] = 0.05
    """Floor of the predicted standard deviation of an action [1]; in a mixture, of each mode."""
    shared_std: bool = True
    """Whether that standard deviation is one learned number for each dimension of the action.
    False: predicted from the state, which then explains away what the mean should learn. A mixture
    predicts its own always."""
    reset_every: Count | None = None
    """Steps after which the state is set to zero again, in training and in control; null: never.
    Only for comparison: a policy that forgets cannot count."""

    def __post_init__(self) -> None:
        if self.attention_heads and not self.near_field_scales_m:
            raise UsageError(
                "policy.near_field_scales_m: expected a range at least, got none, and"
                f" policy.attention_heads={self.attention_heads} looks through them; without ranges"
                " set policy.attention_heads=0 too"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay."""

    learning_rate: Amount = 5e-3
    """Peak learning rate."""
    final_fraction: Annotated[float, Range(0, 1, open_high=False)] = 0.02
    """Learning rate after the last update, as a fraction of the peak."""
    warmup_updates: Annotated[int, Range(0)] = 100
    """Updates over which the learning rate rises from zero."""
    weight_decay: Amount = 1e-4
    """Decoupled decay of weight matrices; biases, gains and what a regularizer learns have none."""
    strength_rate: Amount = 1.0
    """Learning rate of what regularizers learn (sigma and d of VAND) as a multiple of the weights'.
    With a budget, 10 meets it soon."""
    clip_norm: Annotated[float, Range(1e-6)] = 1.0
    """Gradients longer than this are shortened to it."""


@dataclass(frozen=True)
class ScheduleConfig:
    """One number among the regularizer's options that changes over training."""

    option: str
    """Name of the option: `beta`, `scale`, `p`, ...; in a chain, every member that has it."""
    start: float
    """Value until it begins."""
    end: float
    """Value once it is over."""
    updates: Count
    """Updates that it takes."""
    begin: Annotated[int, Range(0)] = 0
    """Update at which it begins."""
    shape: Literal["linear", "cosine"] = "linear"
    """A straight line, or half a cosine."""

    @property
    def ramp(self) -> Ramp:
        """The value as a function of the update."""
        return Ramp(self.start, self.end, self.updates, self.begin, self.shape)


@dataclass(frozen=True)
class HeldOutConfig:
    """What moves by demonstrations that the weights do not learn from.

    They are a part of the training split. Those of the validation split choose checkpoints, and
    have no part in this. See `adaptation` of the regularizer `vand`, and `vand_robot.nn.held_out`.
    """

    share: Annotated[float, Range(0, 0.5, open_low=True, open_high=False)] = 0.2
    """Share of each task's training demonstrations that the weights leave out at a time."""
    rotate_every: Count | None = None
    """Updates after which it is the next part's turn; null: the same part from the first update to
    the last. What was learned by heart before its turn is no longer held out in truth."""
    interval: Count = 5
    """Updates between two steps of what follows the held-out loss. Each takes as long as three
    updates."""
    spread: bool = False
    """Whether the shared standard deviations of the heads follow it too, and not the training loss:
    they are then as wide as the errors on demonstrations that the policy has not seen."""


@dataclass(frozen=True)
class RolloutConfig:
    """Validation rollouts of the policy in simulation while it is trained."""

    interval: Annotated[int, Range(0)] = 500
    """Updates between two validations by rollouts; 0: only after the last update."""
    episodes: Count = 10
    """Episodes of each task in a validation."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run."""

    data: tuple[str, ...] = ()
    """Demonstration files."""
    tasks: tuple[str, ...] = ()
    """Task ids to learn; empty: all that the files hold."""
    only_successful: bool = True
    """Whether failed demonstrations are left out; those of unknown outcome are not."""
    only_known: bool = False
    """Whether demonstrations of unknown outcome are left out: others may not have recorded it."""
    demonstrations: Count | None = None
    """Demonstrations of each task to train on, the first ones in the files; null: all. Those that
    are held back for validation stay."""
    valid_fraction: Fraction = 0.1
    """Share of each task's demonstrations kept for validation where a file has no masks."""
    stream: Literal["auto"] | bool = AUTO
    """Whether demonstrations stay in their files and are read batch by batch, and not held in
    memory; the run is the same to the bit. "auto": where they would take more than
    `VAND_MAX_BYTES`, or half of the memory that is free."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The policy."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    """Demonstrations left out by the weights, where something follows the loss on them."""
    schedules: tuple[ScheduleConfig, ...] = ()
    """Options of the regularizer that change over training, for instance
    `[{option: beta, start: 0.0, end: 1.0e-3, updates: 1000}]`; empty: none."""
    updates: Count = 3000
    """Gradient steps."""
    batch_size: Count = 24
    """Episodes in a batch."""
    truncate_steps: Count | None = None
    """Steps over which gradients flow back; the state is carried on all the same. Null: the
    whole episode."""
    input_noise_std: Amount = 0.0
    """Noise on normalized observations in training [standard deviations]; never on the
    instruction."""
    ema_decay: Fraction = 0.99
    """Decay of the exponential moving average of the weights. The average is then validated,
    rolled out and saved; 0: the weights themselves."""
    validation_interval: Count = 100
    """Updates between two validations; `last/` is saved at each."""
    rollouts: RolloutConfig = field(default_factory=RolloutConfig)
    """Validation rollouts in simulation, which choose the best checkpoint."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where metrics are reported beside `metrics.jsonl`: tensorboard, wandb, mlflow, trackio, or a
    tracker of a plugin; empty: nowhere."""
    seed: Annotated[int, Range(0)] = 0
    """Everything random follows from it: split, initial weights, batches, noise."""
    threads: Annotated[int, Range(1, 1024, open_high=False)] | Literal["auto"] = 1
    """CPU threads of torch. "auto" measures at the start which number is fastest on this machine,
    and the run's configuration then holds that number: the last bits of a run depend on it. Where
    anything else runs on the machine, two threads can be ten times slower than one."""
    device: str = "cpu"
    """Where the policy is trained: cpu, cuda, cuda:N, mps, or auto, which takes the first CUDA GPU
    that has kernels for the scan over time, and else the CPU; the run's configuration then holds
    what it took. A run may go on elsewhere, but only goes on exactly where it was."""
    precision: Precision = "float32"
    """Type of the products before and after the recurrent core. The core's own, its state, all
    weights and the loss are float32; on a GPU bfloat16 rounds the core's products to TF32 too."""

    def __post_init__(self) -> None:
        require_device_name(self.device)
        options = [schedule.option for schedule in self.schedules]
        for index, schedule in enumerate(self.schedules):
            if schedule.option in options[:index]:
                raise UsageError(f"schedules[{index}]: {schedule.option!r} has a schedule already")
            values = (schedule.start, schedule.end)
            try:
                check_schedule(self.policy.regularizer, schedule.option, values)
            except ValueError as error:
                raise UsageError(f"schedules[{index}]: {error}") from None

    @property
    def ramps(self) -> dict[str, Ramp]:
        """Option of the regularizer -> its value as a function of the update."""
        return {schedule.option: schedule.ramp for schedule in self.schedules}
