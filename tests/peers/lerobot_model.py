"""LeRobot's action-chunking transformer and diffusion policy, smaller than published.

Imported by LeRobot's interpreter. An action-chunking transformer (ACT) of 128 units (published:
512) with 4 encoder layers, a chunk of 20 actions (2 s), 10 of them carried out; a diffusion policy
with a U-Net of 64 and 128 channels (published: 512, 1024, 2048), 16 actions ahead, 8 carried out,
two observations, 100 steps of noise in training and 10 (DDIM) when it acts. So they are small
enough for minutes of one core. Neither has a memory.
"""

from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.factory import make_pre_post_processors

STATE, OBJECTS, ACTION = "observation.state", "observation.environment_state", "action"
KINDS = {
    "act": (
        ACTPolicy,
        ACTConfig,
        NormalizationMode.MEAN_STD,
        {
            "chunk_size": 20,
            "n_action_steps": 10,
            "dim_model": 128,
            "dim_feedforward": 512,
            "n_vae_encoder_layers": 2,
            "optimizer_lr": 3e-4,
        },
    ),
    "diffusion": (
        DiffusionPolicy,
        DiffusionConfig,
        NormalizationMode.MIN_MAX,
        {
            "horizon": 16,
            "n_action_steps": 8,
            "n_obs_steps": 2,
            "down_dims": (64, 128),
            "noise_scheduler_type": "DDIM",
            "num_inference_steps": 10,
            "optimizer_lr": 5e-4,
        },
    ),
}
"""Kind -> policy, configuration, normalization of numbers, what differs from defaults."""


def make_policy(kind, sizes, statistics):
    """A policy for sizes of STATE, OBJECTS and ACTION, and what comes before and after it.

    That is normalization by statistics of the data, LeRobot's own.
    """
    policy, config, normalization, options = KINDS[kind]
    types = {STATE: FeatureType.STATE, OBJECTS: FeatureType.ENV, ACTION: FeatureType.ACTION}
    features = {name: PolicyFeature(kind, (sizes[name],)) for name, kind in types.items()}
    made = config(
        input_features={name: features[name] for name in (STATE, OBJECTS)},
        output_features={ACTION: features[ACTION]},
        normalization_mapping={kind.value: normalization for kind in types.values()},
        pretrained_backbone_weights=None,
        device="cpu",
        push_to_hub=False,
        **options,
    )
    before, after = make_pre_post_processors(made, dataset_stats=statistics)
    return policy(made), before, after
