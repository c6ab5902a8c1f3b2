"""Parts that the kernels of the scan over time share: squashing, waiting, tiles, the affine map.

A program owns a tile of the batch and a tile of the units, and goes through time with it. A step
needs the hidden state (in the backward pass, the gradient of the pre-activations) of all units of
its rows, so programs with the same rows wait for each other: each adds one to a counter in global
memory when its tile is stored, and spins until all tiles of the step before have been. What does
not depend on the recurrence is loaded before the wait, and what no other program reads is stored
after the counter was raised.

Kernels are written in Triton's subset of Python, in which only constants are annotated. An absent
tensor is None, and costs nothing: Triton compiles a kernel for what is there.
"""

import triton
import triton.language as tl

from vand_robot.nn.kernel.gpu_scan import COUNTER_STRIDE

STRIDE = tl.constexpr(COUNTER_STRIDE)
"""From one counter to the next, as kernels may read it."""


@triton.jit
def sigmoid(a):
    return 1 / (1 + tl.exp(-a))


@triton.jit
def tanh(a):
    """The difference of exponentials loses the digits of small values; a series has them."""
    s = a * a
    series = a * (1 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
    return tl.where(s < 0.0625, series, 2 / (1 + tl.exp(-2 * a)) - 1)


@triton.jit
def arrive(counter):
    """Tell the other programs that what this one stored can be read."""
    tl.debug_barrier()
    tl.atomic_add(counter, 1, sem="release")


@triton.jit
def wait(counter, count):
    """Wait until `count` programs have arrived."""
    while tl.atomic_add(counter, 0, sem="acquire") < count:
        pass


@triton.jit
def read(pointer, at, mask):
    """Load a tile, or zero where there is no tensor."""
    if pointer is None:
        return 0.0
    else:  # noqa: RET505  (Triton compiles one branch; both must be seen as such)
        return tl.load(pointer + at, mask=mask, other=0.0)


@triton.jit
def read_coefficient(pointer, moves, t, size, at, mask):
    """Load a coefficient's tile of step t; `size` elements to a step."""
    if pointer is None:
        return 0.0
    else:  # noqa: RET505
        step = tl.full((), t * moves, tl.int64) * size
        return tl.load(pointer + step + at, mask=mask, other=0.0)


@triton.jit
def write(pointer, at, value, mask):
    """Store a tile, where there is a tensor for it."""
    if pointer is not None:
        tl.store(pointer + at, value, mask=mask)


@triton.jit
def mapped(mu, m, before, a, b, c, k, A, B, C, keep):
    """Apply the affine map to one part of the state; tiles a, b, c, k of A, B, C, keep."""
    value = mu
    if keep is not None:
        value = m + k * (mu - m)
    if A is not None:
        value = a * value
    if B is not None:
        value = value + b
    if C is not None:
        value = value + c * before
    return value


@triton.jit
def unmapped(g, mu, m, a, k, d_gap, A, keep):
    """Derive one part of the map: gradients of mu, of m, of A and of keep."""
    mixed = mu
    d_mixed = g
    if A is not None:
        d_mixed = a * g
    d_mu = d_mixed
    d_m = d_mixed
    d_keep = d_mixed
    if keep is not None:
        mixed = m + k * (mu - m)
        d_mu = k * d_mixed + d_gap
        d_m = (1 - k) * d_mixed - d_gap
        d_keep = d_mixed * (mu - m)
    return d_mu, d_m, g * mixed, d_keep


@triton.jit
def memoryless(x0, x1, x2, x3, inner_bias, CELL: tl.constexpr):
    """Return m = f(x, 0) by gates x0, ..: its parts, and three values for its derivative."""
    if CELL == "tanh":
        m = tanh(x0)
        return m, m, m, m, m
    elif CELL == "relu":  # noqa: RET505
        m = tl.maximum(x0, 0.0)
        return m, m, m, m, m
    elif CELL == "gru":
        r = sigmoid(x0)
        z = sigmoid(x1)
        n = tanh(x2 + r * inner_bias)
        return (1 - z) * n, n, r, z, n
    else:
        i = sigmoid(x0)
        g = tanh(x2)
        o = sigmoid(x3)
        return o * tanh(i * g), i * g, i, g, o
