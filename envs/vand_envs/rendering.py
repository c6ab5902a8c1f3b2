"""Pictures of a simulation without a display, and errors that say which package to install.

MuJoCo chooses its OpenGL backend while it is imported, from the variable `MUJOCO_GL`. This module
imports MuJoCo only when a renderer is made, so that `default_gl_backend` can run before.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
import threading
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from vand_envs.errors import VandError, did_you_mean, require_integer, unknown_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_INSTALL = (
    "install libegl1 libgl1-mesa-dri libopengl0 (Debian, Ubuntu), "
    "or libosmesa6 and set MUJOCO_GL=osmesa"
)
_COARSE = (24, 6, 1)
"""Facets of a round thing around and along its axis, and of a plane's edge, in coarse images."""

# A backend needs one library of each of its groups, by the names that those packages install.
_LIBRARIES = {
    "egl": (("libEGL.so.1", "libEGL.so"), ("libOpenGL.so.0", "libGL.so.1", "libGL.so")),
    "osmesa": (("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"),),
}

_BACKENDS = {"linux": ("egl", "osmesa", "glx"), "darwin": ("cgl",), "win32": ("wgl",)}
"""Platform -> what `MUJOCO_GL` may be there, beside glfw and `_SWITCHES`, as MuJoCo has it."""
_OFF = ("disable", "disabled", "off", "false", "0")
_SWITCHES = ("", "enable", "enabled", "on", "true", "1", *_OFF)

MAX_PICTURE_PX = 8192
"""Longest side of a picture [pixel]: more than drivers draw everywhere."""

_FORKED = (
    "cannot render in a process that was forked from one that rendered: start it anew"
    ' (`context="spawn"` for AsyncVectorEnv and multiprocessing)'
)
_first_process: int | None = None
"""Process that rendered first; a forked one inherits the number."""


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _available(backend: str) -> bool:
    return all(any(map(_loads, group)) for group in _LIBRARIES[backend])


def _usable_backend() -> str | None:
    return next((backend for backend in _LIBRARIES if _available(backend)), None)


def _headless() -> bool:
    return sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _chosen_backend() -> str:
    """The backend that `MUJOCO_GL` names; "" where it is unset."""
    return os.environ.get("MUJOCO_GL", "").lower().strip()


def default_gl_backend() -> None:
    """Choose an OpenGL backend that works without a display; call before MuJoCo is imported.

    On Linux without a display and with `MUJOCO_GL` unset, sets it to `egl`, or to `osmesa` where
    only that is installed. Where neither is, it sets nothing, because MuJoCo could then not even be
    imported; simulations run, and a `Renderer` says what to install.

    Raises:
        VandError: `MUJOCO_GL` names no backend of this platform, or one whose libraries are
            missing, with which importing MuJoCo would fail obscurely.
    """
    if "mujoco" in sys.modules:
        return
    chosen = _chosen_backend()
    known = (*_BACKENDS.get(sys.platform, ()), "glfw")
    if chosen not in (*known, *_SWITCHES):
        hint = f"{did_you_mean(chosen, known)}; known: {', '.join(known)}"
        raise VandError(f"MUJOCO_GL: unknown backend {chosen!r}{hint}")
    if sys.platform != "linux":
        return
    if chosen in _LIBRARIES and not _available(chosen):
        raise VandError(f"MUJOCO_GL={chosen} is set but its libraries are missing: {_INSTALL}")
    if not chosen and _headless():
        usable = _usable_backend()
        if usable is not None:
            os.environ["MUJOCO_GL"] = usable


class Renderer:
    """Draws the state of one simulation as an image; a context manager that frees its context.

    Args:
        model: The `mujoco.MjModel`; left as it was.
        width: Width of the images [pixel].
        height: Height of the images [pixel].
        camera: Name or number of a camera of the model; -1 is the free camera, which looks at the
            center of the model from where `<visual><global azimuth= elevation=>` says.
        fast: Leave out shadows, reflections and antialiasing. In software rendering that is 10 to
            27 times faster: for camera observations; the default is for people.
        coarse: Make round things of fewer facets. In software rendering small images are then drawn
            twice as fast, and look the same.

    Raises:
        VandError: No OpenGL context can be made; the line names the packages to install.
        UsageError: The model has no such camera, or there is no such size.
    """

    def __init__(
        self,
        model: Any,
        width: int = 640,
        height: int = 480,
        camera: str | int = -1,
        *,
        fast: bool = False,
        coarse: bool = False,
    ) -> None:
        import mujoco  # noqa: PLC0415 - the backend must be chosen before this import (see above)

        require_picture(model, width, height, camera)
        self._camera = camera
        self._process, self._thread = os.getpid(), threading.get_ident()
        self._renderer = _make_renderer(mujoco, model, width, height, fast=fast, coarse=coarse)
        if fast:
            flags = self._renderer.scene.flags
            flags[int(mujoco.mjtRndFlag.mjRND_SHADOW)] = 0
            flags[int(mujoco.mjtRndFlag.mjRND_REFLECTION)] = 0

    def render(self, data: Any, camera: Any = None) -> npt.NDArray[np.uint8]:
        """Draw a state whose derived quantities are up to date (`mj_forward`, `mj_kinematics`...).

        Args:
            data: The `mujoco.MjData`.
            camera: Another camera than the renderer's own: name, number, or `mujoco.MjvCamera`.

        Returns:
            Pixels in RGB, shape `(height, width, 3)`, a new array.

        Raises:
            VandError: Another process or thread than this one made the renderer: its OpenGL context
                is not here.
        """
        if os.getpid() != self._process:
            raise VandError(_FORKED)
        if threading.get_ident() != self._thread:
            raise VandError("cannot render: a renderer draws in the thread that made it")
        self._renderer.update_scene(data, self._camera if camera is None else camera)
        pixels: npt.NDArray[np.uint8] = self._renderer.render()
        return pixels

    def close(self) -> None:
        """Free the OpenGL context; more than once is allowed."""
        self._renderer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def require_picture(model: Any, width: int, height: int, camera: str | int) -> None:
    """Check the size of a picture [pixel] and its camera, a name or number, before it is drawn.

    Raises:
        UsageError: There is no such size, or the model has no such camera.
    """
    require_integer("width [pixel]", width, 1, MAX_PICTURE_PX)
    require_integer("height [pixel]", height, 1, MAX_PICTURE_PX)
    cameras = [model.camera(i).name for i in range(model.ncam)]
    if isinstance(camera, str) and camera not in cameras:
        raise unknown_name("camera", camera, cameras)
    if isinstance(camera, int) and not -1 <= camera < model.ncam:
        raise unknown_name("camera", str(camera), map(str, range(-1, model.ncam)))


def _make_renderer(
    mujoco: Any, model: Any, width: int, height: int, *, fast: bool, coarse: bool
) -> Any:
    """MuJoCo's renderer, with the model's off-screen settings changed only while it is made."""
    global _first_process  # noqa: PLW0603  (a fact of the process)
    if _first_process not in (None, os.getpid()):
        raise VandError(_FORKED)  # the driver would wait for a thread that is not here
    _first_process = os.getpid()
    chosen = _chosen_backend()
    if chosen in _OFF:
        raise VandError(f"cannot render: MUJOCO_GL={chosen} turns rendering off: unset it")
    if sys.platform == "linux" and chosen not in _LIBRARIES and not _display_answers():
        if chosen not in _SWITCHES:
            raise VandError(
                f"MUJOCO_GL={chosen} cannot render without a display{_named()}: unset it"
            )
        _replace_backend()
    look, quality = model.vis.global_, model.vis.quality
    before = look.offwidth, look.offheight, quality.offsamples
    facets = quality.numslices, quality.numstacks, quality.numquads
    look.offwidth, look.offheight = max(width, before[0]), max(height, before[1])
    if fast:
        quality.offsamples = 0
    if coarse:
        quality.numslices, quality.numstacks, quality.numquads = _COARSE
    make = partial(mujoco.Renderer, model, height=height, width=width)
    try:
        return make()
    except Exception as error:  # every backend and driver fails with a type of its own
        raise VandError(_explained(error)) from error
    finally:
        look.offwidth, look.offheight, quality.offsamples = before
        quality.numslices, quality.numstacks, quality.numquads = facets


def _display_answers() -> bool:
    """Whether there is a display on which MuJoCo can draw.

    Tried with a window of our own: where MuJoCo once failed to draw, the process cannot draw again.
    """
    if _headless():
        return False
    context = importlib.import_module("mujoco.rendering.classic.gl_context")
    if context.GLContext.__module__ in {f"mujoco.{backend}" for backend in _LIBRARIES}:
        return True  # it needs none
    try:
        glfw = importlib.import_module("glfw")
    except (ImportError, OSError):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW warns of what is returned here
        if not glfw.init():
            return False
        glfw.window_hint(glfw.VISIBLE, 0)
        window = glfw.create_window(16, 16, "", None, None)
        if window:
            glfw.destroy_window(window)
    return bool(window)


def _replace_backend() -> None:
    """Make MuJoCo draw without a display from now on.

    Raises:
        VandError: No backend that could is installed, or the environment forbids it.
    """
    usable = _usable_backend()
    if usable is None:
        raise VandError(f"cannot render without a display{_named()}: {_INSTALL}")
    context = importlib.import_module("mujoco.rendering.classic.gl_context")
    try:
        vars(context)["GLContext"] = importlib.import_module(f"mujoco.{usable}").GLContext
    except Exception as error:
        raise VandError(_explained(error)) from error


def _explained(error: Exception) -> str:
    """One line: what failed, and what to do about it, as far as the environment tells."""
    platform = os.environ.get("PYOPENGL_PLATFORM", "")
    device = os.environ.get("MUJOCO_EGL_DEVICE_ID", "")
    if platform and platform.lower() not in _LIBRARIES:
        return f"cannot render: PYOPENGL_PLATFORM={platform} is no platform for MuJoCo: unset it"
    what = _first_line(error)
    if device:
        return f"cannot render with MUJOCO_EGL_DEVICE_ID={device}: unset it, or mend it: {what}"
    return f"cannot render (MUJOCO_GL={_chosen_backend() or 'unset'}): {what}; {_INSTALL}"


def _named() -> str:
    """The display that the environment names, for messages."""
    names = [name for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)]
    listing = ", ".join(f"{name}={os.environ[name]}" for name in names)
    return f" that answers ({listing})" if names else ""


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
