"""Environments: what a Gymnasium environment looks like to an agent."""

from neurosim.tasks.environment import Environment, environment_seed

__all__ = ["Environment", "environment_seed"]
