"""Model files and environments: what is right loads, what is wrong says what, where and what to do.

An error names the path of the key and its value, and is an ``InputError`` whatever the cause.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurosim import spec
from neurosim.errors import InputError
from neurosim.spec import Model, Task
from neurosim.tasks import Environment

CARTPOLE = spec.load("cartpole").text


def message_of(text: str = CARTPOLE, overrides: dict[str, Any] | None = None) -> str:
    """What the loader says about a model that is wrong."""
    with pytest.raises(InputError) as raised:
        spec.parse(text, "mine", overrides)
    assert raised.value.exit_status == 2
    return str(raised.value)


def with_line(old: str, new: str) -> str:
    """CartPole's model with some text replaced, which must be there once."""
    assert CARTPOLE.count(old) == 1
    return CARTPOLE.replace(old, new)


# --- shipped models ------------------------------------------------------------------------------

# Table 3 of the paper, and what is said of all tasks: critic's and actor's step sizes, their
# variances, temperature, lambda, steps of the annealing to 1/10, episodes, bound of the rewards.
TABLE_3: dict[str, dict[str, Any]] = {
    "acrobot": {
        "critic.alpha": [2e-2, 2e-5, 2e-6],
        "actor.alpha": [1e-2, 1e-5, 1e-6],
        "critic.var": [0.06, 0.2, 0.2],
        "actor.var": [0.03, 0.1],
        "actor.T": 4.0,
        "actor.lambda_": 0.97,
        "critic.lambda_": 0.97,
        "learning.anneal_steps": 100_000.0,
        "actor.anneal_to": [0.1, 0.1, 0.1],
        "critic.anneal_to": [0.1, 0.1, 0.1],
        "task.episodes": 500,
        "learning.reward_bound": math.inf,
    },
    "cartpole": {
        "critic.alpha": [2e-2, 2e-5, 2e-6],
        "actor.alpha": [1e-2, 1e-5, 1e-6],
        "critic.var": [0.03, 0.1, 0.1],
        "actor.var": [0.03, 0.1],
        "actor.T": 2.0,
        "actor.lambda_": 0.95,
        "critic.lambda_": 0.95,
        "learning.anneal_steps": 50_000.0,
        "actor.anneal_to": [0.1, 0.1, 0.1],
        "critic.anneal_to": [0.1, 0.1, 0.1],
        "task.episodes": 1000,
        "learning.reward_bound": math.inf,
    },
    "lunarlander": {
        "critic.alpha": [1e-2, 1e-5, 1e-6],
        "actor.alpha": [4e-3, 4e-6, 4e-7],
        "critic.var": [0.003, 0.01, 0.01],
        "actor.var": [0.06, 0.2],
        "actor.T": 8.0,
        "actor.lambda_": 0.97,
        "critic.lambda_": 0.97,
        "learning.anneal_steps": math.inf,
        "actor.anneal_to": [1.0, 1.0, 1.0],
        "critic.anneal_to": [1.0, 1.0, 1.0],
        "task.episodes": 2500,
        "learning.reward_bound": math.inf,
    },
    "mountaincar": {
        "critic.alpha": [1e-2, 1e-5, 1e-6],
        "actor.alpha": [4e-3, 4e-6, 4e-7],
        "critic.var": [0.003, 0.01, 0.05],
        "actor.var": [0.03, 0.1, 0.5],
        "actor.T": None,
        "actor.lambda_": 0.97,
        "critic.lambda_": 0.97,
        "learning.anneal_steps": math.inf,
        "actor.anneal_to": [1.0, 1.0, 1.0],
        "critic.anneal_to": [1.0, 1.0, 1.0],
        "task.episodes": 500,
        "learning.reward_bound": 5.0,
    },
}
EVERY_TASK: dict[str, Any] = {
    "actor.units": [64, 32],
    "critic.units": [64, 32],
    "actor.activation": ["softplus", "softplus"],
    "critic.activation": ["softplus", "softplus"],
    "actor.N": 20,
    "critic.N": 20,
    "actor.step_size": 0.5,
    "critic.step_size": 0.5,
    "adam.beta1": 0.9,
    "adam.beta2": 0.999,
    "learning.gamma": 0.98,
}
TASKS = {
    "acrobot": ("Acrobot-v1", "softmax", None),
    "cartpole": ("CartPole-v1", "softmax", None),
    "lunarlander": ("LunarLander-v3", "softmax", None),
    "mountaincar": ("MountainCarContinuous-v0", "gaussian", (2.0, 1.0)),
}
PLAIN: dict[str, Any] = {
    "learning.truncation": "bootstrap",
    "learning.update_at_reset": False,
    "learning.terminal_iteration": False,
    "learning.stale_first_mean": False,
    "adam.epsilon": 1e-8,
    "adam.bias_correction_until": math.inf,
}
# The published experiments' own configuration, where it goes beyond the text.
PUBLISHED: dict[str, Any] = {
    "learning.truncation": "zero",
    "learning.update_at_reset": True,
    "learning.terminal_iteration": True,
    "learning.stale_first_mean": True,
    "adam.epsilon": 1e-9,
    "adam.bias_correction_until": 1000.0,
    "critic.gate_floor": 0.0,
}
PUBLISHED_OF: dict[str, dict[str, Any]] = {
    "acrobot": {"actor.anneal_to": [0.1, 0.1, 0.01]},
    "cartpole": {"actor.anneal_to": [0.1, 0.1, 0.01]},
    "lunarlander": {"actor.alpha": [4e-3, 4e-6, 4e-8], "critic.alpha": [1e-2, 1e-5, 1e-7]},
    "mountaincar": {"actor.alpha": [4e-3, 4e-6, 4e-8]},
}


def values_at(model: Model, paths: dict[str, Any]) -> dict[str, Any]:
    """Values of a model's spec by dotted path."""
    values = {}
    for path in paths:
        section, key = path.split(".")
        values[path] = getattr(getattr(model.spec, section), key)
    return values


@pytest.mark.parametrize("task", TABLE_3)
def test_the_four_models_hold_table_3(task: str) -> None:
    expected = EVERY_TASK | TABLE_3[task] | PLAIN
    assert values_at(spec.load(task), expected) == expected


@pytest.mark.parametrize("task", TABLE_3)
def test_the_published_variants_hold_table_3_but_for_what_the_experiments_did_beyond_it(
    task: str,
) -> None:
    expected = EVERY_TASK | TABLE_3[task] | PUBLISHED | PUBLISHED_OF[task]
    assert values_at(spec.load(f"published/{task}"), expected) == expected


@pytest.mark.parametrize("name", [*TASKS, *(f"published/{task}" for task in TASKS)])
def test_models_name_their_environment_and_fit_it(name: str) -> None:
    model = spec.load(name)
    task, actor = model.spec.task, model.spec.actor
    assert (task.id, actor.output, task.action_map) == TASKS[name.rpartition("/")[2]]
    assert not task.options
    Environment(task, actor.output).close()


@pytest.mark.parametrize("name", spec.names())
def test_every_shipped_model_loads_and_its_text_parses_to_the_same_spec(name: str) -> None:
    model = spec.load(name)
    assert model.name == name
    assert spec.parse(model.text, name) == model


def test_the_eight_models_are_there() -> None:
    assert {*TASKS, *(f"published/{task}" for task in TASKS)} <= set(spec.names())


# --- where a model comes from --------------------------------------------------------------------


def test_a_file_of_ones_own_is_loaded_by_its_path_and_named_after_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(CARTPOLE, "utf-8")
    for given_path in (path, str(path)):
        model = spec.load(given_path)
        assert model.name == "mine"
        assert model.spec == spec.load("cartpole").spec


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cartpol", "Did you mean cartpole"),
        ("published/cartpol", "published/cartpole"),
        ("something else", "neurosim list"),
        ("nowhere/model.toml", "named by its path"),
        ("", "neurosim list"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_names(name: str, remedy: str) -> None:
    with pytest.raises(InputError) as raised:
        spec.load(name)
    assert repr(name) in str(raised.value)
    assert remedy in str(raised.value)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"mine\.toml.*UTF-8"):
        spec.load(path)


# --- what can be wrong in one --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("[adam]", "[adam", "line"),
        ("gamma = 0.98", "gamma = ", "line"),
        ("gamma = 0.98", "gamma = 0.98.1", "line"),
        ('id = "CartPole-v1"', 'id = "CartPole-v1', "line"),
        ("[adam]", "[critic]", "critic"),
    ],
)
def test_invalid_toml_is_refused_with_its_place(old: str, new: str, where: str) -> None:
    message = message_of(with_line(old, new))
    assert message.startswith("mine: not valid TOML")
    assert where in message


def test_a_key_given_twice_is_refused() -> None:
    assert "gamma" in message_of(with_line("gamma = 0.98", "gamma = 0.98\ngamma = 0.97"))


@pytest.mark.parametrize(
    ("overrides", "suggestion"),
    [
        ({"actor.lamda": 0.5}, "Did you mean 'lambda'?"),
        ({"actor.Alpha": [0.1, 0.1, 0.1]}, "Did you mean 'alpha'?"),
        ({"critic.gatefloor": 0.1}, "Did you mean 'gate_floor'?"),
        ({"adam.beta_1": 0.9}, "Did you mean 'beta1'?"),
        ({"learning.truncate": "zero"}, "Did you mean 'truncation'?"),
        ({"task.one-hot": True}, "Did you mean 'one_hot'?"),
        ({"descripton": "mine"}, "Did you mean 'description'?"),
        ({"actor.xyz": 1}, "Keys here are units, activation"),
        ({"critic.output": "gaussian"}, "Keys here are units, activation"),
        ({"record": [{"episode": [1], "steps": "all"}]}, "Did you mean 'episodes'?"),
    ],
    ids=str,
)
def test_an_unknown_key_is_refused_with_a_suggestion(
    overrides: dict[str, Any], suggestion: str
) -> None:
    message = message_of(overrides=overrides)
    (key,) = overrides
    assert message.startswith(f"mine: {key}")
    assert "unknown key" in message
    assert suggestion in message


WRONG: list[tuple[str, Any, str]] = [
    # type
    ("actor.N", 2.5, "expected int"),
    ("actor.N", "20", "expected int"),
    ("actor.N", True, "expected int"),
    ("learning.gamma", "0.98", "expected float"),
    ("learning.update_at_reset", 1, "expected bool"),
    ("actor.units", 64, "got int"),
    ("task.id", 3, "expected str"),
    ("actor", 3, "got int"),
    ("task.action_map", [1.0], "length 2"),
    # range
    ("learning.gamma", 1.5, "<= 1.0"),
    ("learning.gamma", -0.1, ">= 0.0"),
    ("learning.gamma", math.nan, ">= 0.0"),
    ("learning.reward_bound", 0.0, "> 0.0"),
    ("learning.reward_bound", math.nan, "> 0.0"),
    ("learning.anneal_steps", -1.0, "> 0.0"),
    ("actor.N", -1, ">= 0"),
    ("actor.T", 0.0, "> 0.0"),
    ("actor.T", math.inf, "<= 1e+300"),
    ("actor.T", math.nan, "> 0.0"),
    ("actor.step_size", 0.0, "> 0.0"),
    ("actor.lambda", 1.01, "<= 1.0"),
    ("critic.gate_floor", -0.01, ">= 0.0"),
    ("critic.gate_floor", math.inf, "<= 1e+300"),
    ("adam.beta1", 1.0, "< 1.0"),
    ("adam.beta2", math.nan, ">= 0.0"),
    ("adam.epsilon", 0.0, "> 0.0"),
    ("adam.bias_correction_until", 0.5, ">= 1.0"),
    ("task.episodes", 0, ">= 1"),
]
WRONG_IN_A_LIST: list[tuple[str, list[Any], int, str]] = [
    ("actor.var", [0.03, 0.0], 1, "> 0.0"),
    ("actor.var", [math.nan, 0.1], 0, "> 0.0"),
    ("critic.var", [0.03, 0.1, math.inf], 2, "<= 1e+300"),
    ("actor.alpha", [0.01, -1e-5, 0.0], 1, ">= 0.0"),
    ("actor.anneal_to", [0.1, 0.1, 1.1], 2, "<= 1.0"),
    ("actor.units", [0, 32], 0, ">= 1"),
    ("actor.units", [64, 32.5], 1, "expected int"),
    ("actor.activation", ["softplus", "selu"], 1, "'selu'"),
]


@pytest.mark.parametrize(("key", "value", "problem"), WRONG)
def test_a_wrong_value_is_refused_with_its_key_the_value_and_what_is_expected(
    key: str, value: Any, problem: str
) -> None:
    message = message_of(overrides={key: value})
    assert message.startswith(f"mine: {key}")
    assert repr(value) in message
    assert problem in message


@pytest.mark.parametrize(("key", "values", "index", "problem"), WRONG_IN_A_LIST)
def test_a_wrong_entry_of_a_list_is_refused_with_its_place(
    key: str, values: list[Any], index: int, problem: str
) -> None:
    message = message_of(overrides={key: values})
    assert message.startswith(f"mine: {key}[{index}] = {values[index]!r}: ")
    assert problem in message


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("actor.activation", ["softplus"], 2),
        ("actor.var", [0.03, 0.1, 0.1], 2),
        ("critic.var", [0.03, 0.1], 3),
        ("actor.alpha", [0.1, 0.1], 3),
        ("critic.anneal_to", [], 3),
    ],
)
def test_a_list_of_the_wrong_length_is_refused_with_the_right_one(
    key: str, value: list[Any], needed: int
) -> None:
    message = message_of(overrides={key: value})
    assert message.startswith(f"mine: {key}: {value} has {len(value)} entries; needs {needed}")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("gamma = 0.98", "learning.gamma"),
        ("beta1 = 0.9", "adam.beta1"),
        ('id = "CartPole-v1"', "task.id"),
        ("gate_floor = 0.01", "critic.gate_floor"),
    ],
)
def test_a_missing_key_is_named(line: str, key: str) -> None:
    assert f"mine: {key}: missing" in message_of(with_line(line, "#"))


def test_a_missing_section_is_named() -> None:
    start = CARTPOLE.index("[adam]")
    assert "mine: adam: missing" in message_of(CARTPOLE[:start])


def test_a_temperature_belongs_to_a_softmax_output_and_to_no_other() -> None:
    assert "mine: actor.T: missing" in message_of(with_line("T = 2.0", "#"))
    gaussian = {"actor.output": "gaussian", "actor.var": [0.03, 0.1, 0.1]}
    assert "mine: actor.T: a gaussian output has no temperature" in message_of(overrides=gaussian)


def test_an_empty_window_of_a_record_is_refused() -> None:
    record = {"record": [{"episodes": "all", "steps": [5, 5]}]}
    assert "mine: record[0].steps: [5, 5] is empty" in message_of(overrides=record)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("learning.truncation", "never", ["bootstrap", "zero"]),
        ("actor.output", "linear", ["softmax", "gaussian"]),
        ("critic.activation", ["softplus", "selu"], ["relu", "tanh", "sigmoid", "linear"]),
        ("record", [{"episodes": "none", "steps": "all"}], ["all"]),
    ],
)
def test_a_name_that_is_not_allowed_is_refused_with_those_that_are(
    key: str, value: Any, allowed: list[str]
) -> None:
    message = message_of(overrides={key: value})
    assert message.startswith(f"mine: {key}")
    for name in allowed:
        assert repr(name) in message.partition(":")[2]


@pytest.mark.parametrize("value", [[math.nan, 1.0], [1.0, math.inf]], ids=str)
def test_an_action_map_has_to_be_finite(value: list[float]) -> None:
    overrides = {"task.action_map": value}
    assert "task.action_map" in message_of(spec.load("mountaincar").text, overrides)


@pytest.mark.parametrize(
    ("key", "value"),
    [("actor.N", 10**30), ("actor.units", [10**30, 32]), ("task.episodes", 10**30)],
)
def test_an_integer_beyond_64_bits_is_refused(key: str, value: Any) -> None:
    assert key in message_of(overrides={key: value})


def error_of(text: str, overrides: dict[str, Any] | None = None) -> str | None:
    """What the loader says, or None if it loads."""
    try:
        spec.parse(text, "mine", overrides)
    except InputError as error:
        return str(error)
    return None


def leaves(content: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted paths of all keys that hold a value."""
    paths: list[str] = []
    for key, value in content.items():
        inner = isinstance(value, dict)
        paths += leaves(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return paths


@pytest.mark.parametrize("key", leaves(tomllib.loads(CARTPOLE)))
@pytest.mark.parametrize("value", [math.nan, -1, [[]], {"a": 1}, [-1, -1, -1]], ids=str)
def test_at_no_key_a_nan_a_negative_number_or_a_table_goes_unnoticed(key: str, value: Any) -> None:
    message = error_of(CARTPOLE, {key: value})
    assert message is not None
    assert message.startswith(f"mine: {key}")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.integers(0, len(CARTPOLE)), st.integers(0, 40), st.text(max_size=6))
@example(0, 0, "\ufeff")
@example(0, 0, "\x00")
@example(0, len(CARTPOLE), "")
def test_a_damaged_model_file_is_loaded_or_refused_but_never_crashes_the_loader(
    start: int, length: int, text: str
) -> None:
    message = error_of(CARTPOLE[:start] + text + CARTPOLE[start + length :])
    assert message is None or message.startswith("mine: ")


# --- overrides -----------------------------------------------------------------------------------


def test_an_override_changes_its_key_and_no_other_line_of_the_text() -> None:
    model = spec.load("cartpole", {"actor.N": 40, "task.episodes": 7})
    assert model.spec.actor.N == 40
    assert model.spec.critic.N == 20
    assert model.spec.task.episodes == 7
    before, after = CARTPOLE.splitlines(), model.text.splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].strip() for line in changed] == ["episodes = 7", "N = 40"]
    assert spec.parse(model.text, "cartpole") == model


def test_overrides_of_every_type_resolve_to_a_text_that_parses_to_the_same_spec() -> None:
    overrides = {
        "description": 'quotes " and \\ and π',
        "learning.reward_bound": 2.5,
        "learning.anneal_steps": math.inf,
        "learning.truncation": "zero",
        "learning.update_at_reset": True,
        "actor.alpha": [1e-300, 0.1, 0.0],
        "task.options": {"max_episode_steps": 10},
        "record": [{"episodes": [1, 3], "steps": [0, 10]}, {"episodes": "all", "steps": "all"}],
    }
    model = spec.load("cartpole", overrides)
    assert model.spec.description == overrides["description"]
    assert model.spec.actor.alpha == overrides["actor.alpha"]
    assert model.spec.task.options == overrides["task.options"]
    assert [window.steps for window in model.spec.record] == [(0, 10), "all"]
    assert spec.parse(model.text, "cartpole") == model


@pytest.mark.parametrize(
    ("key", "blamed"),
    [("nonsense.N", "nonsense"), ("actor.alpha.0", "actor.alpha.0"), ("nonsense", "nonsense")],
)
def test_an_override_of_what_is_not_there_is_refused(key: str, blamed: str) -> None:
    assert message_of(overrides={key: 1}).startswith(f"mine: {blamed}: ")


def test_an_override_reaches_into_the_options_of_the_task() -> None:
    model = spec.load("cartpole", {"task.options.max_episode_steps": 10})
    assert model.spec.task.options == {"max_episode_steps": 10}
    assert spec.parse(model.text, "cartpole") == model


def test_an_override_that_toml_cannot_hold_is_refused() -> None:
    assert "actor.T" in message_of(overrides={"actor.T": None})


# --- environments --------------------------------------------------------------------------------


class Room(gymnasium.Env[Any, Any]):
    """An environment of any spaces; it shows what it was given."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]):
        self.observation_space = observation_space
        self.action_space = action_space
        self.given: list[Any] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.given.append(action)
        return self.observation_space.sample(), 1, np.True_, False, {}  # type: ignore[return-value]


BOX = spaces.Box(-1.0, 1.0, (3,))
OUTCOMES = spaces.Discrete(2)


@pytest.fixture
def room() -> Iterator[str]:
    """Id of the environment above; its spaces are options."""
    name = "neurosim-tests/Room-v0"
    gymnasium.register(name, entry_point=Room, order_enforce=False)
    yield name
    del gymnasium.registry[name]


def refusal(task: Task, output: str = "softmax") -> str:
    """What is said about an environment that cannot be used."""
    with pytest.raises(InputError) as raised:
        Environment(task, output)
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("CartPol-v1", "CartPole-v1"),
        ("LunarLander-v2", "LunarLander-v3"),
        ("CartPole-v9", "CartPole-v1"),
        ("NoSuchTask-v0", "pprint_registry"),
        ("no_such_module:Task-v0", "no_such_module"),
        ("not an id", "Malformed"),
        ("", "Malformed"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*is out of date")
def test_an_unknown_environment_is_refused_with_the_nearest_names(name: str, hint: str) -> None:
    message = refusal(Task(id=name, episodes=1))
    assert message.startswith(f"task.id = {name!r}: ")
    assert hint in message


def test_an_option_that_the_environment_does_not_take_is_refused() -> None:
    message = refusal(Task(id="CartPole-v1", episodes=1, options={"nonsense": 1}))
    assert "task.id = 'CartPole-v1'" in message
    assert "nonsense" in message


@pytest.mark.parametrize(
    ("name", "options"),
    [("CartPole-v1", {"max_episode_steps": -5}), ("LunarLander-v3", {"gravity": 5.0})],
)
def test_an_option_of_a_wrong_value_is_refused(name: str, options: dict[str, Any]) -> None:
    assert next(iter(options)) in refusal(Task(id=name, episodes=1, options=options))


@pytest.mark.parametrize(
    ("observations", "remedy"),
    [
        (spaces.Discrete(5), "set task.one_hot = true"),
        (spaces.Dict({"a": BOX}), "FlattenObservation"),
        (spaces.Tuple([BOX, BOX]), "FlattenObservation"),
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), "FlattenObservation"),
        (spaces.Box(0.0, 1.0, ()), "FlattenObservation"),
        (spaces.MultiBinary(3), "one-dimensional Box"),
    ],
    ids=["Discrete", "Dict", "Tuple", "image", "number", "MultiBinary"],
)
def test_observations_that_are_not_flat_are_refused_with_a_remedy(
    room: str, observations: spaces.Space[Any], remedy: str
) -> None:
    options = {"observation_space": observations, "action_space": OUTCOMES}
    message = refusal(Task(id=room, episodes=1, options=options))
    assert message.startswith(f"task.id = {room!r}: its observation space is {observations}")
    assert remedy in message


@pytest.mark.parametrize(
    "actions",
    [spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(2), spaces.Box(-1.0, 1.0, (2, 2))],
    ids=["MultiDiscrete", "MultiBinary", "matrix"],
)
@pytest.mark.parametrize("output", ["softmax", "gaussian"])
def test_actions_of_other_kinds_are_refused_with_those_that_are_supported(
    room: str, actions: spaces.Space[Any], output: str
) -> None:
    options = {"observation_space": BOX, "action_space": actions}
    message = refusal(Task(id=room, episodes=1, options=options), output)
    assert message.startswith(f"task.id = {room!r}: its action space is {actions}")
    assert "Discrete and one-dimensional Box actions are supported" in message


@pytest.mark.parametrize(
    ("name", "output", "remedy"),
    [
        ("CartPole-v1", "gaussian", 'set actor.output = "softmax"'),
        ("MountainCarContinuous-v0", "softmax", 'set actor.output = "gaussian"'),
    ],
)
def test_an_actor_that_does_not_fit_the_actions_is_refused(
    name: str, output: str, remedy: str
) -> None:
    message = refusal(Task(id=name, episodes=1), output)
    assert message.startswith(f"actor.output = {output!r}: {name}")
    assert remedy in message


def test_an_action_map_on_discrete_actions_is_refused() -> None:
    message = refusal(Task(id="CartPole-v1", episodes=1, action_map=(2.0, 1.0)))
    assert message.startswith("task.action_map = [2.0, 1.0]: ")
    assert "remove the key" in message


def test_one_hot_on_observations_that_are_not_discrete_is_refused() -> None:
    message = refusal(Task(id="CartPole-v1", episodes=1, one_hot=True))
    assert message.startswith("task.one_hot = true: ")
    assert "set it to false" in message


def test_discrete_observations_work_as_one_hot_vectors_wherever_they_start(room: str) -> None:
    observations = spaces.Discrete(5, start=-2)
    options = {"observation_space": observations, "action_space": OUTCOMES}
    environment = Environment(Task(id=room, episodes=1, one_hot=True, options=options), "softmax")
    assert environment.n_observations == 5
    seen = set()
    for seed in range(50):
        vector = environment.reset(seed)
        observations.seed(seed)
        expected = np.zeros(5)
        expected[observations.sample() + 2] = 1.0
        assert np.array_equal(vector, expected)
        seen.add(int(vector.argmax()))
    assert seen == set(range(5))


def test_discrete_actions_are_counted_from_the_spaces_start(room: str) -> None:
    options = {"observation_space": BOX, "action_space": spaces.Discrete(3, start=7)}
    environment = Environment(Task(id=room, episodes=1, options=options), "softmax")
    assert environment.n_actions == 3
    assert [environment.action(onehot) for onehot in np.eye(3)] == [7, 8, 9]


def test_box_actions_are_mapped_and_held_within_the_space(room: str) -> None:
    actions = spaces.Box(np.array([-1.0, 0.0]), np.array([2.0, np.inf]), dtype=np.float64)
    options = {"observation_space": BOX, "action_space": actions}
    task = Task(id=room, episodes=1, options=options, action_map=(3.0, 0.5))
    environment = Environment(task, "gaussian")
    assert environment.n_actions == 2
    # clip(3 A + 1/2) by hand; all of these numbers are exact
    assert np.array_equal(environment.action(np.array([0.25, 4.0])), [1.25, 12.5])
    assert np.array_equal(environment.action(np.array([-9.0, -9.0])), [-1.0, 0.0])
    assert np.array_equal(environment.action(np.array([9.0, 9.0])), [2.0, 27.5])


def test_the_environment_gets_actions_of_its_own_type_and_gives_plain_numbers(room: str) -> None:
    options = {"observation_space": BOX, "action_space": spaces.Box(-1.0, 1.0, (2,), np.float32)}
    environment = Environment(Task(id=room, episodes=1, options=options), "gaussian")
    observation = environment.reset(0)
    assert observation.dtype == np.float64
    observation, reward, terminated, truncated = environment.step(
        environment.action(np.array([0.5, -0.5]))
    )
    assert observation.dtype == np.float64
    assert type(reward) is float
    assert (terminated, truncated) == (True, False)
    assert type(terminated) is bool
    (action,) = environment._env.unwrapped.given  # type: ignore[attr-defined]
    assert action.dtype == np.float32


def test_the_same_seed_gives_the_same_episode() -> None:
    environment = Environment(Task(id="CartPole-v1", episodes=1), "softmax")
    first = environment.reset(5), environment.step(1)
    assert not np.array_equal(environment.reset(6), first[0])
    again = environment.reset(5), environment.step(1)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1][0], again[1][0])
