"""Compile the scan in C (vand_robot/nn/kernel/native) where there is a compiler.

With it the wheel is one for this platform; without one it is pure, and scans run by torch.
"""

from __future__ import annotations

import sysconfig
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "vand_robot/nn/kernel/native"


class NativeBuildHook(BuildHookInterface[Any]):  # type: ignore[misc]  # no types are at hand
    """Puts the shared object into wheels, and beside its sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are gathered.

        Args:
            version: "standard" or "editable".
            build_data: what the builder is told.
        """
        source = Path(self.root, NATIVE)
        spec = spec_from_file_location("native_build", source / "build.py")
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {source / 'build.py'}")
        native = module_from_spec(spec)
        spec.loader.exec_module(native)
        editable = version == "editable"
        self._folder = tempfile.TemporaryDirectory()
        try:
            built = native.build(source if editable else Path(self._folder.name))
        except native.CompilerError as error:
            self.app.display_warning(f"recurrent layers will scan by torch, more slowly: {error}")
            return
        if not editable:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["force_include"][str(built)] = f"{NATIVE}/{native.NAME}"
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  (the interface)
        """Throw the compiled file away; the wheel has it."""
        self._folder.cleanup()
