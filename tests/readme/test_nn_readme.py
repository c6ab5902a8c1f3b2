"""The examples of the README run: one learns, one is a regularizer of its own."""

import re
from pathlib import Path

import torch

import vand_robot.nn


def test_example_runs_and_learns_the_sine():
    text = (Path(vand_robot.nn.__file__).parent / "README.md").read_text(encoding="utf-8")
    example, own = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    layer, head, wave = (names[name] for name in ("layer", "head", "wave"))
    layer.eval()
    with torch.no_grad():
        error = (head.mean(layer(wave[:-1])[0]) - wave[1:])[10:].square().mean().sqrt()
    assert error < 0.3  # a constant guess errs by 0.7
    assert names["result"].terms.metrics["memory_nats"] > 0

    exec(compile(own, "README.md", "exec"), names)
    leaky, x = names["leaky"], names["wave"]
    plain = leaky(x)[0]
    assert (plain != leaky(x)[0]).any()
    leaky.eval()
    assert torch.equal(leaky(x)[0], leaky(x)[0])
