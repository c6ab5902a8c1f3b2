"""The example of the README runs, and learns."""

import re
from pathlib import Path

import torch

import vand_robot.nn


def test_example_runs_and_learns_the_sine():
    text = (Path(vand_robot.nn.__file__).parent / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    layer, head, wave = (names[name] for name in ("layer", "head", "wave"))
    layer.eval()
    with torch.no_grad():
        error = (head.mean(layer(wave[:-1])[0]) - wave[1:])[10:].square().mean().sqrt()
    assert error < 0.3  # a constant guess errs by 0.7
    assert names["result"].terms.stats["memory_nats"] > 0
