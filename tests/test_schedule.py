import sys
from pathlib import Path

import pytest
import torch

from segue import schedule

sys.path.insert(0, str(Path(__file__).parent / "parity"))
import parity

SEED = {
    "fixed": schedule.fixed(),
    "step": schedule.step(gamma=0.1, stepsize=50),
    "exp": schedule.exp(gamma=0.999),
    "inv": schedule.inv(gamma=0.1, power=0.75),
    "multistep": schedule.multistep(gamma=0.5, stepvalues=[200, 500, 900]),
    "poly": schedule.poly(power=0.9, max_iter=1000),
    "sigmoid": schedule.sigmoid(gamma=-0.01, stepsize=500),
    "danet_poly": schedule.poly(power=0.9, max_iter=1000),
    "danet_poly_warmup5": schedule.linear_warmup(schedule.poly(power=0.9, max_iter=950), 50),
    "danet_cos": schedule.cosine(max_iter=1000),
    "danet_step": schedule.step(gamma=0.1, stepsize=300),
}
WITH_FLOOR = schedule.poly(power=0.9, max_iter=1000, floor=0.01)
SEED |= {
    "ssseg_poly": WITH_FLOOR,
    "ssseg_poly_min0": schedule.poly(power=0.9, max_iter=1000),
    "ssseg_poly_linear_warmup": schedule.linear_warmup(WITH_FLOOR, 100, ratio=0.1, restart=False),
    "ssseg_poly_exp_warmup": schedule.exp_warmup(WITH_FLOOR, 100, ratio=0.1, restart=False),
    "ssseg_poly_constant_warmup": schedule.constant_warmup(WITH_FLOOR, 100, ratio=0.1, restart=False),
}


@pytest.mark.parametrize("name", SEED)
def test_a_policy_equals_its_reference_at_every_iteration(name):
    rates = torch.tensor([0.01 * SEED[name](t) for t in range(1000)], dtype=torch.float64)
    parity.load("lr_policies").check(name, rates, tolerance=1e-6)


@pytest.mark.parametrize("name", ["danet_poly", "danet_poly_warmup5", "danet_cos", "danet_step"])
def test_a_head_of_ten_times_the_rate_follows_the_same_policy(name):
    rates = torch.tensor([0.1 * SEED[name](t) for t in range(1000)], dtype=torch.float64)
    parity.load("lr_policies").check(f"{name}_head", rates, tolerance=1e-6)


def test_poly_ends_at_zero_and_stays_there():
    policy = schedule.poly(power=0.9, max_iter=10)
    assert policy(0) == 1
    assert policy(10) == policy(11) == 0


def test_sigmoid_falls_for_a_negative_gamma_and_grows_for_a_positive_one():
    falling, growing = schedule.sigmoid(gamma=-1, stepsize=5), schedule.sigmoid(gamma=1, stepsize=5)
    assert falling(0) > falling(5) == 0.5 > falling(10)
    assert growing(0) < growing(5) == 0.5 < growing(10)
    assert falling(10**6) == 0  # and no overflow


def test_warm_up_of_no_length_is_the_policy():
    policy = schedule.step(gamma=0.5, stepsize=2)
    assert schedule.linear_warmup(policy, 0) is policy
