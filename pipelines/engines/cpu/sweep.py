"""Colour in registers: any sequence of adjustments on sixteen pixels at a time, read once and written once.

LLVM cannot vectorize a loop over adjustments inside one over pixels, and a loop over pixels for each adjustment spends as long
on reading, writing and on what comes before and after each loop as on arithmetic. So this is written in LLVM's portable
vectors, as the loops of `vectors`: which adjustment comes next is looked up for each sixteen pixels, in a table that stays
the same for a whole view, so that the processor foresees it. Every result is made of + - * / < and rounded once each: the
same bits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from .vectors import F32, I8, I32, I64, load, of_addresses, splat, store_vector, vector

SCALE, CONTRAST, SATURATE, SATURATE_HSV, HUE, GRAY, SOLARIZE, AFFINE, LUMA_SUM, LEVEL_SUMS, NOTHING = range(11)
"""Adjustments of levels r, g, b, and their constants:
SCALE      v * factor + shift, held in [low, high]
CONTRAST   pivot + factor * (v - pivot), held: factor, pivot of r, g, b, low, high
SATURATE   y + factor * (v - y) with y the luma, held: factor, low, high
SATURATE_HSV   HSV's S times factor, held at 1; then held: factor, low, high
HUE        turned: the angle in sixths of a turn, from 0 to CIRCLE; the same and 2; and 4; and 6
GRAY       all three the weighted sum: weights of r, g, b
SOLARIZE   255 - v from the threshold on
AFFINE     gain of r, g, b, then what is added to them
LUMA_SUM, LEVEL_SUMS   nothing changes; the luma, or each level, is added up in 1/4096, which is whole, so in any order
NOTHING    in the place of a sum that is known
"""

LANES, CONSTANTS = 16, 8
LONGEST = 16384
"""Pixels of one call: more might be too many for 32-bit sums."""

CIRCLE = 256 * 6 / 255
"""Pillow's turn of 256 steps where 255 would be whole, in sixths."""


class _Pixels:
    """Arithmetic on sixteen values at once. A number stands for sixteen of it."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def of(self, v: Any) -> Any:
        return vector(F32, LANES, float(v)) if isinstance(v, int | float) else v

    def add(self, a: Any, b: Any) -> Any:
        return self.builder.fadd(self.of(a), self.of(b))

    def sub(self, a: Any, b: Any) -> Any:
        return self.builder.fsub(self.of(a), self.of(b))

    def mul(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(self.of(a), self.of(b))

    def div(self, a: Any, b: Any) -> Any:
        return self.builder.fdiv(self.of(a), self.of(b))

    def where(self, a: Any, sign: str, b: Any, yes: Any, no: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(sign, self.of(a), self.of(b)), self.of(yes), self.of(no))

    def least(self, a: Any, b: Any) -> Any:
        return self.where(a, "<", b, a, b)

    def most(self, a: Any, b: Any) -> Any:
        return self.where(a, ">", b, a, b)

    def held(self, v: Any, low: Any, high: Any) -> Any:
        return self.least(self.most(v, low), high)

    def size(self, v: Any) -> Any:
        """Without its sign."""
        bits = self.builder.bitcast(v, vector(I32, LANES))
        return self.builder.bitcast(self.builder.and_(bits, vector(I32, LANES, 0x7FFFFFFF)), vector(F32, LANES))

    def where_negative(self, v: Any, yes: Any, no: Any) -> Any:
        """By the sign bit."""
        bits = self.builder.bitcast(v, vector(I32, LANES))
        return self.builder.select(self.builder.icmp_signed("<", bits, vector(I32, LANES, 0)), yes, no)

    def luma(self, r: Any, g: Any, b: Any) -> Any:
        return self.add(self.add(self.mul(r, _float32(0.299)), self.mul(g, _float32(0.587))), self.mul(b, _float32(0.114)))

    def in_4096ths(self, v: Any) -> Any:
        return self.builder.fptosi(self.add(self.mul(v, 4096.0), 0.5), vector(I32, LANES))


def _float32(v: float) -> float:
    """As LLVM wants a float constant: exactly one."""
    return float(np.float32(v))


def _turned(p: _Pixels, rgb: list[Any], k: Callable[[int], Any]) -> list[Any]:
    """Pillow's circle without branches or divisions: everything is in units of the span between largest and smallest level."""
    r, g, b = rgb
    top = p.most(r, p.most(g, b))
    span = p.sub(top, p.least(r, p.least(g, b)))
    across = p.where(top, "==", r, p.sub(g, b), p.where(top, "==", g, p.sub(b, r), p.sub(r, g)))
    sector = p.where(top, "==", r, p.where(g, "<", b, k(3), k(0)), p.where(top, "==", g, k(1), k(2)))
    h = p.add(across, p.mul(sector, span))
    for circle in (_float32(CIRCLE), 6.0):
        behind = p.sub(h, p.mul(span, circle))
        h = p.where_negative(behind, h, behind)
    parts = (p.sub(p.add(span, span), p.size(p.sub(h, p.mul(span, 3.0)))),
             p.sub(p.size(p.sub(h, p.add(span, span))), span),
             p.sub(p.size(p.sub(h, p.mul(span, 4.0))), span))
    return [p.sub(top, p.held(part, 0.0, span)) for part in parts]


def _saturated_hsv(p: _Pixels, rgb: list[Any], k: Callable[[int], Any]) -> list[Any]:
    r, g, b = rgb
    top = p.most(r, p.most(g, b))
    span = p.sub(top, p.least(r, p.least(g, b)))
    full = p.where(span, ">", 0.0, p.div(top, p.where(span, ">", 0.0, span, 1.0)), k(0))
    factor = p.least(k(0), full)
    return [p.held(p.sub(top, p.mul(p.sub(top, v), factor)), k(1), k(2)) for v in rgb]


def _adjusted(p: _Pixels, code: int, rgb: list[Any], k: Callable[[int], Any]) -> list[Any]:
    """k(i): the adjustment's constants."""
    if code == SCALE:
        return [p.held(p.add(p.mul(v, k(0)), k(1)), k(2), k(3)) for v in rgb]
    if code == CONTRAST:
        return [p.held(p.add(k(1 + c), p.mul(k(0), p.sub(v, k(1 + c)))), k(4), k(5)) for c, v in enumerate(rgb)]
    if code == SATURATE:
        y = p.luma(*rgb)
        return [p.held(p.add(y, p.mul(k(0), p.sub(v, y))), k(1), k(2)) for v in rgb]
    if code == SATURATE_HSV:
        return _saturated_hsv(p, rgb, k)
    if code == HUE:
        return _turned(p, rgb, k)
    if code == GRAY:
        return [p.add(p.add(p.mul(rgb[0], k(0)), p.mul(rgb[1], k(1))), p.mul(rgb[2], k(2)))] * 3
    if code == SOLARIZE:
        return [p.where(v, ">=", k(0), p.sub(255.0, v), v) for v in rgb]
    assert code == AFFINE
    return [p.add(p.mul(v, k(c)), k(3 + c)) for c, v in enumerate(rgb)]


def _sweep(from_bytes: bool) -> Any:
    def build(builder: Any, source: Any, apart: Any, out: Any, apart_out: Any, codes: Any, constants: Any, count: Any, n: Any,
              sums: Any) -> None:
        p, form, ints = _Pixels(builder), vector(F32, LANES), vector(I32, LANES)
        slots = [cgutils.alloca_once(builder, form) for _ in range(3)]
        totals = [cgutils.alloca_once(builder, ints) for _ in range(3)]
        for total in totals:
            builder.store(vector(I32, LANES, 0), total)
        lanes = vector(I64, LANES, list(range(LANES)))
        blocks = builder.sdiv(builder.add(n, I64(LANES - 1)), I64(LANES))
        with cgutils.for_range(builder, blocks) as block:
            start = builder.mul(block.index, I64(LANES))
            inside = builder.icmp_signed("<", builder.add(splat(builder, start, LANES), lanes), splat(builder, n, LANES))
            for c, slot in enumerate(slots):
                at = builder.add(source, builder.mul(apart, I64(c)))
                if from_bytes:
                    levels = load(builder, builder.add(at, start), vector(I8, LANES), 1)
                    builder.store(builder.uitofp(levels, form), slot)
                else:
                    builder.store(load(builder, builder.add(at, builder.shl(start, I64(2))), form, 4), slot)
            with cgutils.for_range(builder, count) as step:
                row = builder.add(constants, builder.mul(step.index, I64(4 * CONSTANTS)))

                def constant(i: int, row: Any = row) -> Any:
                    return splat(builder, load(builder, builder.add(row, I64(4 * i)), F32, 4), LANES)

                code = load(builder, builder.add(codes, builder.shl(step.index, I64(3))), I64, 8)
                after = builder.append_basic_block("after")
                nowhere = builder.append_basic_block("nowhere")
                choice = builder.switch(code, nowhere)
                for which in range(NOTHING + 1):
                    here = builder.append_basic_block("adjustment")
                    choice.add_case(ir.Constant(I64, which), here)
                    builder.position_at_end(here)
                    rgb = [builder.load(slot) for slot in slots]
                    if which == NOTHING:
                        pass
                    elif which in (LUMA_SUM, LEVEL_SUMS):
                        for v, total in zip([p.luma(*rgb)] if which == LUMA_SUM else rgb, totals, strict=False):
                            counted = builder.select(inside, p.in_4096ths(v), vector(I32, LANES, 0))
                            builder.store(builder.add(builder.load(total), counted), total)
                    else:
                        for v, slot in zip(_adjusted(p, which, rgb, constant), slots, strict=True):
                            builder.store(v, slot)
                    builder.branch(after)
                builder.position_at_end(nowhere)
                builder.unreachable()
                builder.position_at_end(after)
            with builder.if_then(builder.icmp_signed("!=", out, I64(0))):
                for c, slot in enumerate(slots):
                    at = builder.add(builder.add(out, builder.mul(apart_out, I64(c))), builder.shl(start, I64(2)))
                    store_vector(builder, builder.load(slot), at, 4)
        for c, total in enumerate(totals):
            at = builder.add(sums, I64(8 * c))
            whole = load(builder, at, I64, 8)
            for lane in range(LANES):
                value = builder.extract_element(builder.load(total), ir.Constant(I32, lane))
                whole = builder.add(whole, builder.sext(value, I64))
            store_vector(builder, whole, at, 8)

    return of_addresses(9, build)


sweep_bytes, sweep_floats = _sweep(True), _sweep(False)
"""sweep_bytes(source, apart, out, apart_out, codes, constants, count, n, sums): three planes of n <= LONGEST levels, uint8 for
the one and float32 for the other, `apart` bytes from one to the next, go through `count` adjustments codes (count,) int64 with
constants (count, CONSTANTS) float32, into three planes of float32, `apart_out` bytes apart; nowhere where out is 0. What is
added up goes on top of sums (3,) int64. Where n is no multiple of LANES, the rest of the last sixteen is read and written too."""
