"""The layers alone: torch is all that `vand_robot.nn` needs."""

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

NOTHING_ELSE = """
import sys
ALLOWED = {"torch", "vand_robot", "numpy", *sys.stdlib_module_names}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        caller = sys._getframe(1)
        while caller and "importlib" in caller.f_code.co_filename:
            caller = caller.f_back
        if name.partition(".")[0] in ALLOWED or "vand_robot" not in caller.f_globals["__name__"]:
            return None
        raise AssertionError(f"{caller.f_globals['__name__']} imports {name}")

sys.meta_path.insert(0, Refuse())
import vand_robot.nn
layer = vand_robot.nn.GRU(2, 3, regularizer=vand_robot.nn.Vand())
import torch
layer.run(torch.randn(4, 2, 2)).output.sum().backward()
own = [name for name in sys.modules if name.startswith("vand_")]
wrong = [name for name in own if name != "vand_robot" and not name.startswith("vand_robot.nn")]
assert not wrong, wrong
print(len(own))
"""

EXAMPLE = """
import importlib.util
for name in ("mujoco", "numpy", "omegaconf", "gymnasium", "h5py", "safetensors", "vand_envs.gone"):
    try:
        missing = importlib.util.find_spec(name) is None
    except ModuleNotFoundError:
        missing = True
    assert missing, name
import vand_robot.nn
assert "site-packages" in vand_robot.nn.__file__
import torch
torch.manual_seed(0)
{example}
assert loss.item() < 0, loss
layer.eval()
wrong = (head.mean(layer(wave[:-1])[0]) - wave[1:])[10:].square().mean().sqrt()
print(f"error {{wrong.item():.3f}}")
assert wrong < 0.3
"""


def test_importing_and_using_the_layers_imports_torch_and_the_standard_library_alone():
    done = subprocess.run(
        [sys.executable, "-c", NOTHING_ELSE], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def required_by(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Collect a distribution and all that it requires, as far as it is installed."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return
    if distribution.name.lower() in found:
        return
    found[distribution.name.lower()] = distribution
    for line in distribution.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required_by(requirement.name, found)


@pytest.mark.slow
def test_an_environment_with_torch_alone_trains_the_example_of_the_readme(tmp_path: Path):
    """`pip install torch`, then `pip install --no-deps vand-robot`.

    Torch and what it requires are linked from here instead of installed once more.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    required_by("torch", found)
    assert "numpy" not in found
    linked = tmp_path / "linked"
    linked.mkdir()
    for distribution in found.values():
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (linked / top).exists():
                (linked / top).symlink_to(Path(str(distribution.locate_file(top))))
    venv.create(tmp_path / "env", symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (packages,) = (tmp_path / "env").glob("lib/python*/site-packages")
    (packages / "torch.pth").write_text(f"{linked}\n")
    quiet = ["-q", "--disable-pip-version-check", "--no-deps"]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *quiet, "-w", tmp_path, ROOT], check=True)
    (wheel,) = tmp_path.glob("vand_robot-*.whl")
    subprocess.run([*pip, "--python", python, "install", *quiet, wheel], check=True)

    readme = (ROOT / "vand_robot" / "nn" / "README.md").read_text("utf-8")
    example = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[0]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [python, "-c", EXAMPLE.format(example=example)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("error ")
