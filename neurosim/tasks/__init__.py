"""Environments: what a Gymnasium environment looks like to an agent, and neurosim's own ones."""

import gymnasium

from neurosim.tasks.environment import Environment, environment_seed
from neurosim.tasks.filmed import Filmed, check_film
from neurosim.tasks.one_step import OneStep

for _name, _module in (("Multiplexer", "multiplexer"), ("ScalarRegression", "regression")):
    gymnasium.register(id=f"neurosim/{_name}-v0", entry_point=f"neurosim.tasks.{_module}:{_name}")

__all__ = ["Environment", "Filmed", "OneStep", "check_film", "environment_seed"]
