import pytest
import torch

from fieldlevel.training.schedule import learning_rate
from fieldlevel.training.train_spec import OptimiserSpec


def test_triangular_rate_is_that_of_pytorch():
    optimiser = torch.optim.AdamW([torch.zeros(1)])
    cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimiser, base_lr=1e-9, max_lr=5e-3, step_size_up=500, step_size_down=500, cycle_momentum=False
    )
    spec = OptimiserSpec(learning_rate=5e-3, schedule="triangular")
    for step in range(2200):
        assert learning_rate(spec, step, n_steps=2200) == pytest.approx(cyclic.get_last_lr()[0], rel=1e-9, abs=1e-17)
        optimiser.step()
        cyclic.step()


@pytest.mark.parametrize("warm_up", [0.0, 0.1, 0.5])
def test_one_cycle_rises_once_to_the_highest_rate_and_falls_to_zero(warm_up):
    spec = OptimiserSpec(learning_rate=2.0, schedule="one-cycle", warm_up=warm_up)
    rates = [learning_rate(spec, step, 200) for step in range(200)]
    top = int(200 * warm_up)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(2.0, rel=1e-3)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_one_cycle_rise_is_linear_and_fall_is_a_cosine():
    spec = OptimiserSpec(learning_rate=1.0, schedule="one-cycle", warm_up=0.2)
    assert learning_rate(spec, 9, 100) == pytest.approx(0.5)
    assert learning_rate(spec, 59, 100) == pytest.approx(0.5)
    assert learning_rate(spec, 39, 100) == pytest.approx((1 + 2**-0.5) / 2)


def test_one_cycle_may_be_all_rise():
    spec = OptimiserSpec(learning_rate=1.0, schedule="one-cycle", warm_up=1.0)
    assert learning_rate(spec, 99, 100) == 1.0
