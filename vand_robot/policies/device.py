"""Devices that a policy is trained or acts on: their names, and which are there."""

import re

import torch

from vand_envs.errors import UsageError
from vand_robot.nn.kernel import gpu_scan

AUTO = "auto"
CPU = "cpu"

_NAME = re.compile(r"auto|cpu|cuda(:\d+)?|mps")


def require_device_name(name: str) -> None:
    """Checks a device's name, and not whether it is there.

    Raises:
        UsageError: It is none of auto, cpu, cuda, cuda:N and mps.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"device: expected auto, cpu, cuda, cuda:N or mps, got {name!r}")


def available_devices() -> list[str]:
    """Names of the devices that are there, the CPU first."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [CPU, *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def is_available(name: str) -> bool:
    """Whether the device of a name other than `auto` is there."""
    return (f"{name}:0" if name == "cuda" else name) in available_devices()


def find_device(name: str) -> torch.device:
    """The device of a name; of `auto` the one that `choose_device` takes.

    Raises:
        UsageError: It is no device's name, or that device is not there.
    """
    require_device_name(name)
    name = choose_device()[0] if name == AUTO else name
    if not is_available(name):
        there = ", ".join(available_devices())
        raise UsageError(f"device {name!r} is not there; there are: {there}")
    return torch.device(name)


def choose_device() -> tuple[str, str]:
    """The device that `auto` stands for, and the reason.

    It is the first CUDA GPU, if the scan over time has its kernels there; else the CPU. Without
    them a sequence is thousands of small launches, for which a GPU is slower than a CPU.
    """
    if not torch.cuda.is_available():
        others = [name for name in available_devices() if name != CPU]
        return CPU, f"no CUDA GPU is there{', only ' if others else ''}{', '.join(others)}"
    lacks = gpu_scan.missing(torch.device("cuda:0"))
    if lacks:
        return CPU, f"there is a GPU, but {lacks}"
    return "cuda:0", torch.cuda.get_device_name(0)
