"""Learning-rate policies: closed forms of the iteration, with warm-up before any of them.

The definitions are those of Caffe's SGD solver. A policy is a factor on the base rate, so that parameter groups with
different base rates share one policy; its only state is the counter, so it resumes exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Policy = Callable[[int], float]
"""iteration, counted from 0 -> factor on the base learning rate."""


def fixed() -> Policy:
    """The base rate throughout."""
    return lambda step: 1.0


def step(*, gamma: float, stepsize: int) -> Policy:
    """gamma ^ floor(t / stepsize)."""
    return lambda step: gamma ** (step // stepsize)


def exp(*, gamma: float) -> Policy:
    """gamma ^ t."""
    return lambda step: gamma**step


def inv(*, gamma: float, power: float) -> Policy:
    """(1 + gamma t) ^ -power."""
    return lambda step: (1.0 + gamma * step) ** -power


def multistep(*, gamma: float, stepvalues: Sequence[int]) -> Policy:
    """gamma ^ (how many of `stepvalues` are at most t)."""
    return lambda step: gamma ** sum(value <= step for value in stepvalues)


def poly(*, power: float, max_iter: int, floor: float = 0.0) -> Policy:
    """(1 - t / max_iter) ^ power, from 1 down to `floor`; it stays there from max_iter on."""
    return lambda step: (1.0 - min(step, max_iter) / max_iter) ** power * (1.0 - floor) + floor


def sigmoid(*, gamma: float, stepsize: int) -> Policy:
    """1 / (1 + exp(-gamma (t - stepsize))): it falls for a negative gamma and grows for a positive one."""

    def factor(step: int) -> float:
        exponent = -gamma * (step - stepsize)
        return 0.0 if exponent > 700 else 1.0 / (1.0 + math.exp(exponent))  # exp(700) is near float64's largest

    return factor


def cosine(*, max_iter: int) -> Policy:
    """(1 + cos(pi t / max_iter)) / 2 (Loshchilov and Hutter, ICLR 2017): what DANet's code offers beside poly."""
    return lambda step: 0.5 * (1.0 + math.cos(math.pi * min(step, max_iter) / max_iter))


def linear_warmup(policy: Policy, length: int, *, ratio: float = 0.0, restart: bool = True) -> Policy:
    """`length` iterations that rise in a line from `ratio` to 1, then the policy.

    restart: the policy starts at its own t = 0 afterwards, as in PyTorch-Encoding and DANet; otherwise the two are
    multiplied and the policy runs from the first iteration, as in mmsegmentation and sssegmentation.
    """
    return _warmup(policy, length, lambda step: 1.0 - (1.0 - step / length) * (1.0 - ratio), restart)


def constant_warmup(policy: Policy, length: int, *, ratio: float, restart: bool = True) -> Policy:
    """`length` iterations at `ratio` times the rate, then the policy; `restart` as in `linear_warmup`."""
    return _warmup(policy, length, lambda step: ratio, restart)


def exp_warmup(policy: Policy, length: int, *, ratio: float, restart: bool = True) -> Policy:
    """`length` iterations that rise as ratio ^ (1 - t / length), then the policy; `restart` as in `linear_warmup`."""
    return _warmup(policy, length, lambda step: ratio ** (1.0 - step / length), restart)


def _warmup(policy: Policy, length: int, rise: Policy, restart: bool) -> Policy:
    if length <= 0:
        return policy

    def factor(step: int) -> float:
        if restart:
            return rise(step) if step < length else policy(step - length)
        # sssegmentation warms up while t <= length: only the constant form shows it.
        return policy(step) * (rise(step) if step <= length else 1.0)

    return factor
