"""The backward pass over all steps in one Triton kernel; see `gpu_tiles`."""

import triton
import triton.language as tl

from vand_robot.nn.kernel.gpu_tiles import (
    STRIDE,
    arrive,
    memoryless,
    read,
    read_coefficient,
    tanh,
    unmapped,
    wait,
    write,
)


@triton.jit(do_not_specialize=["A_moves", "C_moves", "keep_moves", "first", "last", "batch"])
def backward_steps(
    gates,  # (T, B, G) the input's part of the pre-activations, where `keep` is there
    trace,  # (T, B, G) the gates
    inner,  # (T, B, H) of the GRU
    path,  # (T + 1, B, S) states
    d_states,  # (T, B, S)
    d_gap,  # (T, B, S) or None
    A,
    C,
    keep,  # (T or 1, B, S)
    A_moves,
    C_moves,
    keep_moves,
    weight,  # (H, G) transposed
    inner_bias,  # (H,)
    lengths,  # (B,)
    d_pre,  # (T + 1, B, G) out: gradient of the state's part of the pre-activations; last is zero
    d_gates,  # (T, B, G) out: gradient of the input's part, where it is another
    d_A,
    d_B,
    d_C,
    d_keep,  # (T, B, S) out, or None
    carry,  # (B, S) in and out: what reaches the state before the steps past the weights
    d_bias,  # (4, batch tiles, H) in and out: sums of the gradients of gates; last: `inner`
    arrivals,  # (batch tiles, COUNTER_STRIDE) zeros
    first,
    last,  # steps last - 1, .. first are done
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
    """Do steps of the backward pass; programs (batch tiles, unit tiles)."""
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

    carry_h = tl.load(carry + of_state, mask=here, other=0.0)
    carry_c = carry_h
    if PARTS == 2:
        carry_c = tl.load(carry + of_state + H, mask=here, other=0.0)
    sum_0 = tl.zeros((ROWS, UNITS), tl.float32)
    sum_1 = tl.zeros((ROWS, UNITS), tl.float32)
    sum_2 = tl.zeros((ROWS, UNITS), tl.float32)
    sum_3 = tl.zeros((ROWS, UNITS), tl.float32)
    for back in tl.range(first, stop, num_stages=1):
        t = stop - 1 - (back - first)
        step = tl.full((), t, tl.int64) * batch
        if lengths is not None:
            valid = here & (t < length)[:, None]
        at = step * G + of_gates
        at_state = step * S + of_state
        s_0 = tl.load(trace + at, mask=here, other=0.0)
        s_1 = s_0
        s_2 = s_0
        s_3 = s_0
        if GATES >= 3:
            s_1 = tl.load(trace + at + H, mask=here, other=0.0)
            s_2 = tl.load(trace + at + 2 * H, mask=here, other=0.0)
        if GATES == 4:
            s_3 = tl.load(trace + at + 3 * H, mask=here, other=0.0)
        if CELL == "gru":
            s_3 = tl.load(inner + step * H + of_hidden, mask=here, other=0.0)
        before_h = tl.load(path + at_state, mask=here, other=0.0)
        g_h = tl.load(d_states + at_state, mask=valid, other=0.0) + carry_h
        size = batch * S
        a_h = read_coefficient(A, A_moves, t, size, of_state, here)
        c_h = read_coefficient(C, C_moves, t, size, of_state, here)
        k_h = read_coefficient(keep, keep_moves, t, size, of_state, here)
        d_gap_h = read(d_gap, at_state, valid)
        if PARTS == 2:
            before_c = tl.load(path + at_state + H, mask=here, other=0.0)
            g_c = tl.load(d_states + at_state + H, mask=valid, other=0.0) + carry_c
            a_c = read_coefficient(A, A_moves, t, size, of_state + H, here)
            c_c = read_coefficient(C, C_moves, t, size, of_state + H, here)
            k_c = read_coefficient(keep, keep_moves, t, size, of_state + H, here)
            d_gap_c = read(d_gap, at_state + H, valid)
        m_h = s_0
        m_c = s_0
        u = s_0
        v = s_0
        w = s_0
        if keep is not None:
            x0 = tl.load(gates + at, mask=here, other=0.0)
            x1 = x0
            x2 = x0
            x3 = x0
            if GATES >= 3:
                x1 = tl.load(gates + at + H, mask=here, other=0.0)
                x2 = tl.load(gates + at + 2 * H, mask=here, other=0.0)
            if GATES == 4:
                x3 = tl.load(gates + at + 3 * H, mask=here, other=0.0)
            m_h, m_c, u, v, w = memoryless(x0, x1, x2, x3, bias, CELL)
        if CELL == "gru":
            mu_h = s_2 + s_1 * (before_h - s_2)
        elif CELL == "lstm":
            mu_c = s_1 * before_c + s_0 * s_2
            squashed = tanh(mu_c)
            mu_h = s_3 * squashed
        else:
            mu_h = s_0

        if back > first:
            wait(counter, (back - first) * tl.num_programs(1))
        through = tl.zeros((ROWS, UNITS), tl.float32)
        for k in tl.range(0, G, DEPTH, num_stages=STAGES):
            gate = k + tl.arange(0, DEPTH)
            gate_mask = in_batch[:, None]
            weight_mask = in_state[None, :]
            if G % DEPTH != 0:
                gate_mask = gate_mask & (gate < G)[None, :]
                weight_mask = weight_mask & (gate < G)[:, None]
            d_later = tl.load(
                d_pre + (step + batch) * G + row[:, None] * G + gate[None, :],
                mask=gate_mask,
                other=0.0,
                cache_modifier=".cg",
            )
            to_unit = tl.load(
                weight + unit[None, :] * G + gate[:, None], mask=weight_mask, other=0.0
            )  # (DEPTH, UNITS)
            through = tl.dot(d_later, to_unit, through, input_precision=PRECISION)

        g_h = g_h + through
        d_mu_h, d_m_h, d_A_h, d_keep_h = unmapped(g_h, mu_h, m_h, a_h, k_h, d_gap_h, A, keep)
        carry_h = tl.zeros((ROWS, UNITS), tl.float32)
        if CELL == "gru":
            d_2 = d_mu_h * (1 - s_1) * (1 - s_2 * s_2)
            d_3 = d_2 * s_0
            d_0 = d_3 * (1 - s_0) * s_3
            d_1 = d_mu_h * (before_h - s_2) * s_1 * (1 - s_1)
            carry_h = d_mu_h * s_1
            tl.store(d_pre + at, d_0, mask=valid)
            tl.store(d_pre + at + H, d_1, mask=valid)
            tl.store(d_pre + at + 2 * H, d_3, mask=valid)
        elif CELL == "lstm":
            d_mu_c, d_m_c, d_A_c, d_keep_c = unmapped(g_c, mu_c, m_c, a_c, k_c, d_gap_c, A, keep)
            d_mu_c = d_mu_c + d_mu_h * s_3 * (1 - squashed * squashed)
            d_0 = d_mu_c * s_2 * s_0 * (1 - s_0)
            d_1 = d_mu_c * before_c * s_1 * (1 - s_1)
            d_2 = d_mu_c * s_0 * (1 - s_2 * s_2)
            d_3 = d_mu_h * squashed * s_3 * (1 - s_3)
            carry_c = d_mu_c * s_1
            if C is not None:
                carry_c = carry_c + c_c * g_c
            tl.store(d_pre + at, d_0, mask=valid)
            tl.store(d_pre + at + H, d_1, mask=valid)
            tl.store(d_pre + at + 2 * H, d_2, mask=valid)
            tl.store(d_pre + at + 3 * H, d_3, mask=valid)
        else:
            slope = (1 - s_0 * s_0) if CELL == "tanh" else tl.where(s_0 > 0, 1.0, 0.0)
            d_0 = d_mu_h * slope
            tl.store(d_pre + at, d_0, mask=valid)
        if C is not None:
            carry_h = carry_h + c_h * g_h
        arrive(counter)

        if keep is not None:
            if CELL == "gru":
                m_2 = d_m_h * (1 - v) * (1 - w * w)
                d_0 += m_2 * bias * u * (1 - u)
                d_1 -= d_m_h * w * v * (1 - v)
                d_2 += m_2
                d_3 += m_2 * u
            elif CELL == "lstm":
                after = tanh(m_c)
                d_m_c += d_m_h * w * (1 - after * after)
                d_0 += d_m_c * v * u * (1 - u)
                d_2 += d_m_c * u * (1 - v * v)
                d_3 += d_m_h * after * w * (1 - w)
            elif CELL == "tanh":
                d_0 += d_m_h * (1 - m_h * m_h)
            else:
                d_0 += tl.where(m_h > 0, d_m_h, 0.0)
        write(d_gates, at, d_0, valid)
        sum_0 += tl.where(valid, d_0, 0.0)
        if GATES >= 3:
            write(d_gates, at + H, d_1, valid)
            write(d_gates, at + 2 * H, d_2, valid)
            sum_1 += tl.where(valid, d_1, 0.0)
            sum_2 += tl.where(valid, d_2, 0.0)
            sum_3 += tl.where(valid, d_3, 0.0)
        if GATES == 4:
            write(d_gates, at + 3 * H, d_3, valid)
        write(d_A, at_state, d_A_h, valid)
        write(d_B, at_state, g_h, valid)
        write(d_C, at_state, g_h * before_h, valid)
        write(d_keep, at_state, d_keep_h, valid)
        if PARTS == 2:
            write(d_A, at_state + H, d_A_c, valid)
            write(d_B, at_state + H, g_c, valid)
            write(d_C, at_state + H, g_c * before_c, valid)
            write(d_keep, at_state + H, d_keep_c, valid)

    tl.store(carry + of_state, carry_h, mask=here)
    if PARTS == 2:
        tl.store(carry + of_state + H, carry_c, mask=here)
    tiles = tl.num_programs(0)
    of_bias = d_bias + tl.program_id(0) * H + unit
    tl.store(of_bias, tl.load(of_bias, mask=in_state) + tl.sum(sum_0, 0), mask=in_state)
    if GATES >= 3:
        of_bias += tiles * H
        tl.store(of_bias, tl.load(of_bias, mask=in_state) + tl.sum(sum_1, 0), mask=in_state)
        of_bias += tiles * H
        tl.store(of_bias, tl.load(of_bias, mask=in_state) + tl.sum(sum_2, 0), mask=in_state)
        of_bias += tiles * H
        tl.store(of_bias, tl.load(of_bias, mask=in_state) + tl.sum(sum_3, 0), mask=in_state)
