"""What the paper prints (Chung 2021): Table 1, average return over all episodes of a run."""

from typing import NamedTuple


class Published(NamedTuple):
    """Mean and population standard deviation over 10 runs."""

    mean: float
    std: float


TABLE_1 = {
    "MAP propagation": {
        "acrobot": Published(-100.29, 5.40),
        "cartpole": Published(459.70, 13.89),
        "lunarlander": Published(127.88, 24.57),  # LunarLander-v2
        "mountaincar": Published(39.45, 30.48),
    },
    "REINFORCE": {
        "acrobot": Published(-148.42, 47.65),
        "cartpole": Published(47.29, 8.22),
        "lunarlander": Published(-62.05, 16.16),
        "mountaincar": Published(-35.52, 0.65),
    },
    "REINFORCE, Thomas 2011": {
        "acrobot": Published(-149.11, 33.50),
        "cartpole": Published(112.58, 42.54),
        "lunarlander": Published(-54.61, 23.47),
        "mountaincar": Published(-4.65, 0.21),
    },
    "Backprop": {
        "acrobot": Published(-106.29, 15.00),
        "cartpole": Published(458.96, 9.44),
        "lunarlander": Published(104.92, 31.98),
        "mountaincar": Published(4.30, 59.28),
    },
}
