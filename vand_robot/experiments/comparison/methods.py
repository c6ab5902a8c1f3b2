"""Methods that are compared, and the settings that each may choose from."""

from collections.abc import Mapping, Sequence
from typing import Any

Setting = Mapping[str, Any]
"""Fields of a `Trial` that a method sets."""


def _regularized(name: str, option: str, values: Sequence[Any], **fixed: Any) -> list[Setting]:
    return [{"regularizer": {"name": name, **fixed, option: value}} for value in values]


def _scheduled(
    name: str, option: str, values: Sequence[float], start: float, end: float
) -> list[Setting]:
    """Settings whose option goes from one share of each value to another."""
    return [
        {
            "regularizer": {"name": name, option: value},
            "schedule": {"option": option, "start": start * value, "end": end * value},
        }
        for value in values
    ]


BETAS = (1e-5, 1e-4, 1e-3)
"""VAND's weights of the KL [per nat] to choose from."""

METHODS: Mapping[str, Sequence[Setting]] = {
    "none": [{"learning_rate": rate} for rate in (0.003, 0.01, 0.02)],
    "gradient clipping": [{"clip": norm} for norm in (1.0, 0.3, 0.1)],
    "Gaussian noise": _regularized("gaussian_noise", "scale", (0.03, 0.1, 0.2)),
    "dropout": _regularized("dropout", "p", (0.02, 0.05, 0.15)),
    "Noisin, additive": _regularized("noisin", "spread", (0.03, 0.1, 0.3), unbiased="strong"),
    "Noisin, Bernoulli": _regularized(
        "noisin",
        "spread",
        (0.98, 0.95, 0.85),
        distribution="bernoulli",
        form="multiplicative",
        unbiased="strong",
    ),
    "zoneout": _regularized("zoneout", "z", (0.02, 0.05, 0.15)),
    "VAND": _regularized("vand", "beta", BETAS),
    "VAND, noise only": _regularized("vand", "beta", BETAS, dropout=False),
    "VAND, dropout only": _regularized("vand", "beta", BETAS, noise=False),
    "VAND, fixed": _regularized("vand", "sigma", (0.03, 0.1, 0.2), adaptive=False),
    "VAND, dropout only, fixed": _regularized(
        "vand", "drop", (0.02, 0.05, 0.15), adaptive=False, noise=False
    ),
    "VAND, beta rising": _scheduled("vand", "beta", BETAS, 0.0, 1.0),
    "Gaussian noise, falling": _scheduled("gaussian_noise", "scale", (0.03, 0.1, 0.2), 1.0, 0.0),
}
"""Method -> its three settings. "none" has no strength of its own: it tunes the learning rate.

VAND adapts both its noise and its dropout; those after it leave one of the two out, or adapt
neither (d is then 0.02). Noise alone, not adapted, is Gaussian noise. The last two have a strength
that rises or falls over the first half of the training.

Weakly unbiased Noisin is Gaussian noise, and dropout, under another name; so Noisin is strong here.
"""

MAIN_METHODS = tuple(list(METHODS)[: list(METHODS).index("VAND") + 1])
"""Methods that are compared unless others are asked for: not VAND's ablation, nor schedules."""

ABLATION = (
    "none",
    "Gaussian noise",
    "dropout",
    "VAND",
    "VAND, noise only",
    "VAND, dropout only",
    "VAND, fixed",
    "VAND, dropout only, fixed",
)
"""VAND's two halves, each alone and both, adapted and fixed, and what stands beside them: noise
alone that is not adapted is Gaussian noise, and dropout drops to zero, not to the memoryless
answer."""

RATES: Mapping[bool, Sequence[float]] = {
    False: (0.003, 0.02),
    True: (0.001, 0.03),
}
"""Whether a method's settings are learning rates themselves -> further learning rates that it is
tried with, where each method has its own: two for every method, so that all try five settings."""

VAND: Mapping[str, Any] = {"name": "vand", "beta": 1e-4}
"""Setting that the variations start from: the middle one, everything else at its default."""


def setting_in_words(setting: Mapping[str, Any]) -> str:
    """A setting in a few words: its number, and of what."""
    options = setting.get("regularizer", setting)
    return ", ".join(
        f"{key} {value:g}"
        for key, value in options.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
