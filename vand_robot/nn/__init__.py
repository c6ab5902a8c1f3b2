"""Recurrent layers with a regularized internal state: VAND and its peers, for plain PyTorch.

Drop-in layers `Elman`, `GRU` and `LSTM`; regularizers, each of which is a random affine map of the
state; and heads for values, modes, classes, flags and counts. Time first: (steps, batch, features).
Nothing in here knows of robots.
"""

from vand_robot.nn.allocator import tune_allocator
from vand_robot.nn.cells.layer_norm import LayerNormElman, LayerNormGRU, LayerNormLSTM
from vand_robot.nn.cells.lru import LRU
from vand_robot.nn.cells.min_gru import MinGRU
from vand_robot.nn.heads import (
    BernoulliHead,
    CategoricalHead,
    GaussianHead,
    GaussianMixtureHead,
    PoissonHead,
    gaussian_nll,
)
from vand_robot.nn.held_out import adapt_held_out, drop_gradients, mixed_derivatives
from vand_robot.nn.kernel.affine import AffineMap
from vand_robot.nn.kernel.cells import Transition
from vand_robot.nn.kernel.native.library import BackendError, backend
from vand_robot.nn.layers import GRU, LSTM, CustomCell, Elman
from vand_robot.nn.optimization import collect_penalty, dual_step, parameter_groups
from vand_robot.nn.recurrent import Recurrent, ScanResult
from vand_robot.nn.registry import (
    CELLS,
    REGULARIZERS,
    make_cell,
    make_regularizer,
    options_of,
    register_regularizer,
)
from vand_robot.nn.regularizers.base import (
    NoRegularizer,
    Regularizer,
    RegularizerTerms,
    Sampler,
)
from vand_robot.nn.regularizers.chain import Chain
from vand_robot.nn.regularizers.classic import (
    Dropout,
    GaussianNoise,
    InputDropout,
    InputNoise,
    Zoneout,
)
from vand_robot.nn.regularizers.explicit import explicit_regularizer, marginal_regularizer
from vand_robot.nn.regularizers.noisin import DISTRIBUTIONS, DropoutLSTM, Noisin
from vand_robot.nn.regularizers.options import OptionInfo, Range
from vand_robot.nn.regularizers.vand import Vand, VandSampler
from vand_robot.nn.regularizers.vand_posterior import kl_bound
from vand_robot.nn.schedules import Ramp, apply_schedules, check_schedule

__all__ = [
    "CELLS",
    "DISTRIBUTIONS",
    "GRU",
    "LRU",
    "LSTM",
    "REGULARIZERS",
    "AffineMap",
    "BackendError",
    "BernoulliHead",
    "CategoricalHead",
    "Chain",
    "CustomCell",
    "Dropout",
    "DropoutLSTM",
    "Elman",
    "GaussianHead",
    "GaussianMixtureHead",
    "GaussianNoise",
    "InputDropout",
    "InputNoise",
    "LayerNormElman",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinGRU",
    "NoRegularizer",
    "Noisin",
    "OptionInfo",
    "PoissonHead",
    "Ramp",
    "Range",
    "Recurrent",
    "Regularizer",
    "RegularizerTerms",
    "Sampler",
    "ScanResult",
    "Transition",
    "Vand",
    "VandSampler",
    "Zoneout",
    "adapt_held_out",
    "apply_schedules",
    "backend",
    "check_schedule",
    "collect_penalty",
    "drop_gradients",
    "dual_step",
    "explicit_regularizer",
    "gaussian_nll",
    "kl_bound",
    "make_cell",
    "make_regularizer",
    "marginal_regularizer",
    "mixed_derivatives",
    "options_of",
    "parameter_groups",
    "register_regularizer",
    "tune_allocator",
]
