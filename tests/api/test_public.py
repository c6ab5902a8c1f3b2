"""The public interface: what `import vand_robot` offers, and what it costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vand_robot


@pytest.mark.parametrize("name", vand_robot.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(vand_robot, name) is not None
    assert name in dir(vand_robot)


def test_type_checkers_see_the_same_names_as_users():
    tree = ast.parse(Path(vand_robot.__file__).read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.name for node in imports for alias in node.names}
    assert seen | {"__version__"} == set(vand_robot.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vand_robot.nonsense


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("torch", "mujoco", "h5py")
    check = f"import sys, vand_robot; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_environments_need_neither_torch_nor_h5py():
    check = "import sys, vand_envs; print([m for m in ('torch', 'h5py') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_recurrent_library_needs_no_robot():
    check = (
        "import sys, vand_robot.nn;"
        "print([m for m in sys.modules if m.split('.')[0] in ('mujoco', 'h5py', 'vand_envs')])"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
