"""The forward pass over all steps in one Triton kernel; see `gpu_tiles`."""

import triton
import triton.language as tl

from vand_robot.nn.kernel.gpu_tiles import (
    STRIDE,
    arrive,
    mapped,
    memoryless,
    read,
    read_coefficient,
    sigmoid,
    tanh,
    wait,
    write,
)


@triton.jit(
    do_not_specialize=["A_moves", "B_moves", "C_moves", "keep_moves", "first", "last", "batch"]
)
def forward_steps(
    gates,  # (T, B, G) the input's part of the pre-activations
    trace,  # (T, B, G) out: the gates, squashed; may be `gates`
    inner,  # (T, B, H) out: W_hn h + b_hn, of the GRU
    path,  # (T + 1, B, S) states from h_0 on; out: all but h_0
    gap,  # (T, B, S) out: mu - m
    A,
    B,
    C,
    keep,  # (T or 1, B, S) coefficients
    A_moves,
    B_moves,
    C_moves,
    keep_moves,
    weight,  # (G, H)
    inner_bias,  # (H,) of the GRU's candidate
    lengths,  # (B,)
    arrivals,  # (batch tiles, COUNTER_STRIDE) zeros
    first,
    last,  # steps first .. last - 1 are done
    batch,
    CELL: tl.constexpr,
    GATES: tl.constexpr,
    PARTS: tl.constexpr,
    H: tl.constexpr,
    ROWS: tl.constexpr,
    UNITS: tl.constexpr,
    DEPTH: tl.constexpr,
    STAGES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Do steps of the forward pass; programs (batch tiles, unit tiles)."""
    G: tl.constexpr = GATES * H
    S: tl.constexpr = PARTS * H
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    counter = arrivals + tl.program_id(0) * STRIDE
    in_batch = row < batch
    in_state = unit < H
    here = in_batch[:, None] & in_state[None, :]
    valid = here
    of_gates = row[:, None] * G + unit[None, :]
    of_state = row[:, None] * S + unit[None, :]
    of_hidden = row[:, None] * H + unit[None, :]
    stop = last
    if lengths is not None:
        length = tl.load(lengths + row, mask=in_batch, other=0)
        stop = tl.minimum(last, tl.max(length, 0).to(tl.int32))
    bias = read(inner_bias, unit, in_state)
    if inner_bias is not None:
        bias = bias[None, :]

    start = tl.full((), first, tl.int64) * batch * S
    h = tl.load(path + start + of_state, mask=here, other=0.0)
    c = h
    if PARTS == 2:
        c = tl.load(path + start + of_state + H, mask=here, other=0.0)
    for t in tl.range(first, stop, num_stages=1):
        step = tl.full((), t, tl.int64) * batch
        if lengths is not None:
            valid = here & (t < length)[:, None]
        at = step * G + of_gates
        x0 = tl.load(gates + at, mask=here, other=0.0)
        x1 = x0
        x2 = x0
        x3 = x0
        if GATES >= 3:
            x1 = tl.load(gates + at + H, mask=here, other=0.0)
            x2 = tl.load(gates + at + 2 * H, mask=here, other=0.0)
        if GATES == 4:
            x3 = tl.load(gates + at + 3 * H, mask=here, other=0.0)
        size = batch * S
        a_h = read_coefficient(A, A_moves, t, size, of_state, here)
        b_h = read_coefficient(B, B_moves, t, size, of_state, here)
        c_h = read_coefficient(C, C_moves, t, size, of_state, here)
        k_h = read_coefficient(keep, keep_moves, t, size, of_state, here)
        if PARTS == 2:
            a_c = read_coefficient(A, A_moves, t, size, of_state + H, here)
            b_c = read_coefficient(B, B_moves, t, size, of_state + H, here)
            c_c = read_coefficient(C, C_moves, t, size, of_state + H, here)
            k_c = read_coefficient(keep, keep_moves, t, size, of_state + H, here)
        m_h = x0
        m_c = x0
        if keep is not None:
            m_h, m_c, _u, _v, _w = memoryless(x0, x1, x2, x3, bias, CELL)

        if t > first:
            wait(counter, (t - first) * tl.num_programs(1))
        to_0 = tl.zeros((ROWS, UNITS), tl.float32)
        to_1 = tl.zeros((ROWS, UNITS), tl.float32)
        to_2 = tl.zeros((ROWS, UNITS), tl.float32)
        to_3 = tl.zeros((ROWS, UNITS), tl.float32)
        for k in tl.range(0, H, DEPTH, num_stages=STAGES):
            from_unit = k + tl.arange(0, DEPTH)
            hidden_mask = in_batch[:, None]
            weight_mask = in_state[None, :]
            if H % DEPTH != 0:
                hidden_mask = hidden_mask & (from_unit < H)[None, :]
                weight_mask = weight_mask & (from_unit < H)[:, None]
            # Past the first cache, which does not see what other programs stored.
            hidden = tl.load(
                path + step * S + row[:, None] * S + from_unit[None, :],
                mask=hidden_mask,
                other=0.0,
                cache_modifier=".cg",
            )
            here_weight = weight + unit[None, :] * H + from_unit[:, None]  # (DEPTH, UNITS)
            w = tl.load(here_weight, mask=weight_mask, other=0.0)
            to_0 = tl.dot(hidden, w, to_0, input_precision=PRECISION)
            if GATES >= 3:
                w = tl.load(here_weight + H * H, mask=weight_mask, other=0.0)
                to_1 = tl.dot(hidden, w, to_1, input_precision=PRECISION)
                w = tl.load(here_weight + 2 * H * H, mask=weight_mask, other=0.0)
                to_2 = tl.dot(hidden, w, to_2, input_precision=PRECISION)
            if GATES == 4:
                w = tl.load(here_weight + 3 * H * H, mask=weight_mask, other=0.0)
                to_3 = tl.dot(hidden, w, to_3, input_precision=PRECISION)

        after = path + (step + batch) * S + of_state
        if CELL == "tanh":
            s_0 = tanh(x0 + to_0)
            mu = s_0
        elif CELL == "relu":
            s_0 = tl.maximum(x0 + to_0, 0.0)
            mu = s_0
        elif CELL == "gru":
            s_0 = sigmoid(x0 + to_0)  # r
            s_1 = sigmoid(x1 + to_1)  # z
            s_3 = to_2 + bias
            s_2 = tanh(x2 + s_0 * s_3)  # n
            mu = s_2 + s_1 * (h - s_2)
        else:
            s_0 = sigmoid(x0 + to_0)  # i
            s_1 = sigmoid(x1 + to_1)  # f
            s_2 = tanh(x2 + to_2)  # g
            s_3 = sigmoid(x3 + to_3)  # o
            mu_c = s_1 * c + s_0 * s_2
            mu = s_3 * tanh(mu_c)
            c = tl.where(valid, mapped(mu_c, m_c, c, a_c, b_c, c_c, k_c, A, B, C, keep), 0.0)
        h = tl.where(valid, mapped(mu, m_h, h, a_h, b_h, c_h, k_h, A, B, C, keep), 0.0)
        tl.store(after, h, mask=valid)
        arrive(counter)

        tl.store(trace + at, s_0, mask=valid)
        if GATES >= 3:
            tl.store(trace + at + H, s_1, mask=valid)
            tl.store(trace + at + 2 * H, s_2, mask=valid)
        if GATES == 4:
            tl.store(trace + at + 3 * H, s_3, mask=valid)
        if CELL == "gru":
            tl.store(inner + step * H + of_hidden, s_3, mask=valid)
        write(gap, step * S + of_state, mu - m_h, valid)
        if PARTS == 2:
            tl.store(after + H, c, mask=valid)
            write(gap, step * S + of_state + H, mu_c - m_c, valid)
