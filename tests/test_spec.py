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
import msgspec
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st

from neurosim import cli, spec
from neurosim.errors import InputError
from neurosim.spec import Model, Spec, Task, Timing
from neurosim.tasks import Environment

CARTPOLE = spec.load("cartpole").text
ASYNC = spec.load("async/cartpole").text


def message_of(
    text: str = CARTPOLE,
    overrides: dict[str, Any] | None = None,
    mode: spec.Mode | None = None,
) -> str:
    """What the loader says about a model that is wrong."""
    with pytest.raises(InputError) as raised:
        spec.parse(text, "mine", overrides, mode)
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


# All of [timing] that the models with fully local asynchronous units set to another value.
LOCAL: dict[str, Any] = {
    "clock": "poisson",
    "delay": 1.0,
    "feedback": "kolen_pollack",
    "silent_until_first_tick": True,
}
CRITICS_VAR = {
    "acrobot": [0.06, 0.2, 1.0],
    "cartpole": [0.03, 0.1, 0.5],
    "lunarlander": [0.003, 0.01, 0.05],
    "mountaincar": [0.003, 0.01, 0.25],
}
NAMES = [
    *TASKS,
    *(f"published/{task}" for task in TASKS),
    *(f"async/{task}" for task in TASKS),
    "lockstep/cartpole",
]


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


def sections_of(model: Model) -> dict[str, Any]:
    """What a model file says, but for its description and its [timing]."""
    content = tomllib.loads(model.text)
    return {key: content[key] for key in content if key not in ("description", "timing")}


@pytest.mark.parametrize("task", TABLE_3)
def test_the_local_variants_differ_in_step_size_the_critics_output_variance_and_timing(
    task: str,
) -> None:
    model = spec.load(f"async/{task}")
    changes = {"actor.step_size": 1.0, "critic.step_size": 1.0, "critic.var": CRITICS_VAR[task]}
    assert sections_of(model) == sections_of(spec.load(task, changes))
    assert model.spec.timing == Timing(**LOCAL)
    assert model.mode == "asynchronous"


def test_the_lockstep_variant_is_the_plain_model_with_the_defaults_of_timing() -> None:
    model = spec.load("lockstep/cartpole")
    assert sections_of(model) == sections_of(spec.load("cartpole"))
    assert model.spec.timing == Timing()
    assert model.mode == "asynchronous"


@pytest.mark.parametrize("name", NAMES)
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


def test_all_models_are_there() -> None:
    assert set(NAMES) <= set(spec.names())


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
    assert "mine: actor.T: 2.0 has no meaning with output = 'gaussian'; remove it." in message_of(
        overrides=gaussian
    )


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


@pytest.mark.parametrize("key", leaves(tomllib.loads(ASYNC)))
@pytest.mark.parametrize("value", [math.nan, -1, [[]], {"a": 1}, [-1, -1, -1]], ids=str)
def test_at_no_key_a_nan_a_negative_number_or_a_table_goes_unnoticed(key: str, value: Any) -> None:
    message = error_of(ASYNC, {key: value})
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


def test_overrides_may_be_numpys_numbers() -> None:
    alpha = [0.5, 0.25, 0.125]
    found = spec.load("cartpole", {"actor.alpha": np.array(alpha), "actor.N": np.int64(4)})
    assert found == spec.load("cartpole", {"actor.alpha": alpha, "actor.N": 4})


def test_an_override_that_toml_cannot_hold_is_refused() -> None:
    assert "actor.T" in message_of(overrides={"actor.T": None})


def test_an_override_reaches_into_an_inline_table() -> None:
    text = with_line('id = "CartPole-v1"', 'id = "CartPole-v1"\noptions = {a = {b = 1}}')
    model = spec.parse(text, "mine", {"task.options.a.b": 2, "task.options.c.d": 3})
    assert model.spec.task.options == {"a": {"b": 2}, "c": {"d": 3}}
    assert spec.parse(model.text, "mine") == model


# --- timing --------------------------------------------------------------------------------------

# Every row of the table of docs/asynchronous.md: its default, and values that are allowed with it.
TIMING: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "clock": ("synchronous", [{"clock": "periodic"}, {"clock": "poisson"}]),
    "rate": (
        1.0,
        [
            {"rate": [1.0, 1.0, 1.0]},
            {"rate": 0, "clock": "poisson"},
            {"rate": [0.5, 1, [2.0]], "clock": "periodic"},
            {"rate": [[0.5] * 64, [1.0] * 32, 2.0], "clock": "poisson"},
        ],
    ),
    "rate_spread": (
        0.0,
        [{"rate_spread": 0.5, "clock": clock} for clock in ("periodic", "poisson")],
    ),
    "phase": (None, [{"phase": phase, "clock": "periodic"} for phase in (1, 0.5, "random")]),
    "jitter": (0.0, [{"jitter": 0.49, "clock": "periodic"}]),
    "error_clock": ("antiphase", [{"error_clock": "with_value"}]),
    "window": (
        None,
        [{"window": 0}, {"window": 2.0**18 - 1}, {"window": 1e6, "rate": 0, "clock": "poisson"}],
    ),
    "delay": (0.25, [{"delay": 0}, {"delay": [1.0, 2]}]),
    "error_delay": (None, [{"error_delay": 0.5}, {"error_delay": [1.0, 2]}]),
    "unit_delay": (0.0, [{"unit_delay": 1}]),
    "packet_delay": (0.0, [{"packet_delay": 1, "reorder": "newest"}]),
    "synapse_delay": (0.0, [{"synapse_delay": 1, "loss_per": "synapse"}]),
    "reorder": ("latest_arrival", [{"reorder": "newest"}]),
    "loss": (0.0, [{"loss": 1}, {"loss": [0.1, 0.2]}]),
    "error_loss": (None, [{"error_loss": 0.5}, {"error_loss": [0, 1]}]),
    "loss_per": ("packet", [{"loss_per": "synapse"}]),
    "sampling": ("dataflow", [{"sampling": "timer", "sampling_timer": 2}]),
    "sampling_timer": (None, [{"sampling": "timer", "sampling_timer": 0}]),
    "send_on_delta": (0.0, [{"send_on_delta": 1.5}]),
    "quantize": (0, [{"quantize": 1}, {"quantize": 52}]),
    "feedback": ("symmetric", [{"feedback": "sign_symmetric"}, {"feedback": "random"}]),
    "feedback_alignment": (1.0, [{"feedback_alignment": 0, "feedback": "kolen_pollack"}]),
    "feedback_decay": (0.0, [{"feedback_decay": 0.1, "feedback": "kolen_pollack"}]),
    "broadcast_delay": (0.0, [{"broadcast_delay": 1}, {"broadcast_delay": [0, [1] * 32, [2]]}]),
    "broadcast_loss": (0.0, [{"broadcast_loss": 1}, {"broadcast_loss": [[0] * 64, 0.5, [1]]}]),
    "silent_until_first_tick": (False, [{"silent_until_first_tick": True}]),
    "trace_after": (0, [{"trace_after": 3}]),
}
WRONG_TIMING: list[tuple[str, Any, str]] = [
    ("clock", "gaussian", "'synchronous', 'periodic', 'poisson'"),
    ("rate", "fast", "expected float | list"),
    ("rate", -1, ">= 0.0"),
    ("rate", math.nan, ">= 0.0"),
    ("rate", 1e7, "<= 1048576.0"),
    ("rate_spread", -0.1, ">= 0.0"),
    ("rate_spread", math.inf, "<= 3.0"),
    ("phase", 0, "> 0.0"),
    ("phase", 1.1, "<= 1.0"),
    ("phase", "zero", "'random'"),
    ("jitter", 0.5, "< 0.5"),
    ("jitter", -0.1, ">= 0.0"),
    ("error_clock", "later", "'antiphase', 'with_value'"),
    ("window", -1, ">= 0.0"),
    ("window", math.inf, "<= 1000000.0"),
    ("delay", -0.25, ">= 0.0"),
    ("delay", 1e10, "<= 1000000.0"),
    ("error_delay", -1, ">= 0.0"),
    ("unit_delay", math.nan, ">= 0.0"),
    ("packet_delay", "long", "expected float"),
    ("synapse_delay", [0.1], "expected float"),
    ("reorder", "oldest", "'latest_arrival', 'newest'"),
    ("loss", 1.1, "<= 1.0"),
    ("error_loss", -0.1, ">= 0.0"),
    ("loss_per", "unit", "'packet', 'synapse'"),
    ("sampling", "never", "'dataflow', 'timer'"),
    ("sampling_timer", -1, ">= 0.0"),
    ("send_on_delta", -1, ">= 0.0"),
    ("quantize", 53, "<= 52"),
    ("quantize", 1.5, "expected int"),
    ("feedback", "none", "'symmetric', 'kolen_pollack', 'sign_symmetric', 'random'"),
    ("feedback_alignment", 2, "<= 1.0"),
    ("feedback_decay", 1, "< 1.0"),
    ("broadcast_delay", -1, ">= 0.0"),
    ("broadcast_loss", 2, "<= 1.0"),
    ("silent_until_first_tick", 1, "expected bool"),
    ("trace_after", -1, ">= 0"),
]
WRONG_IN_A_LIST_OF_TIMING: list[tuple[str, Any, str, Any, str]] = [
    ("rate", [1, -1, 1], "[1]", -1, ">= 0.0"),
    ("rate", [1, [2, -3], 1], "[1][1]", -3, ">= 0.0"),
    ("delay", [0.1, math.nan], "[1]", math.nan, ">= 0.0"),
    ("error_delay", [-1, 0.1], "[0]", -1, ">= 0.0"),
    ("loss", [0.1, 1.5], "[1]", 1.5, "<= 1.0"),
    ("loss", [[0.1], 0.1], "[0]", [0.1], "expected float"),
    ("broadcast_loss", [0, [0.5, 2], 0], "[1][1]", 2, "<= 1.0"),
    ("broadcast_delay", [0, 0, ["a"]], "[2][0]", "a", "expected float"),
]
SECTIONS = ["timing", "timing.actor", "timing.critic"]
TICKING = 'needs clock = "periodic" or "poisson"'
PERIODIC = 'needs clock = "periodic"'
LEARNED = 'needs feedback = "kolen_pollack"'
# Settings of a team that do not fit each other, the key to blame, its value and the remedy.
CONFLICTS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"rate": 2}, "rate", "2.0", TICKING),
    ({"rate": [1, 1, 0]}, "rate", "[1.0, 1.0, 0.0]", TICKING),
    ({"rate_spread": 0.1}, "rate_spread", "0.1", TICKING),
    ({"jitter": 0.1}, "jitter", "0.1", PERIODIC),
    ({"phase": "random"}, "phase", "'random'", PERIODIC),
    ({"jitter": 0.1, "clock": "poisson"}, "jitter", "0.1", PERIODIC),
    ({"phase": 0.5, "clock": "poisson"}, "phase", "0.5", PERIODIC),
    ({"rate": 1e-12, "clock": "poisson"}, "rate", "1e-12", "needs 0, or 1e-06 at least"),
    ({"sampling": "timer"}, "sampling", "'timer'", "needs sampling_timer, in periods"),
    ({"sampling_timer": 2}, "sampling_timer", "2.0", 'needs sampling = "timer"'),
    (
        {"packet_delay": 0.1, "synapse_delay": 0.2},
        "packet_delay",
        "0.1",
        "needs synapse_delay = 0.0",
    ),
    ({"packet_delay": 0.1, "loss_per": "synapse"}, "packet_delay", "0.1", 'loss_per = "packet"'),
    ({"reorder": "newest", "synapse_delay": 0.2}, "reorder", "'newest'", "synapse_delay = 0.0"),
    ({"reorder": "newest", "loss_per": "synapse"}, "reorder", "'newest'", 'loss_per = "packet"'),
    ({"feedback_alignment": 0.5}, "feedback_alignment", "0.5", LEARNED),
    ({"feedback_decay": 0.1, "feedback": "random"}, "feedback_decay", "0.1", LEARNED),
    ({"window": 2**18}, "window", "262144.0", "lower one of them"),
    ({"window": 2**17, "clock": "poisson", "rate": [1, 1, 2]}, "window", "131072.0", "rate 2.0"),
]
# Lists that do not fit the critic with two hidden layers of 64 and 32 units.
LENGTHS: list[tuple[str, list[Any], str, int, str]] = [
    ("rate", [1, 1], "", 3, "one for each hidden layer and one for the output"),
    ("broadcast_delay", [], "", 3, "one for each hidden layer and one for the output"),
    ("broadcast_loss", [0] * 4, "", 3, "one for each hidden layer and one for the output"),
    ("rate", [1, [1] * 31, 1], "[1]", 32, "one for each unit"),
    ("broadcast_delay", [[0] * 65, 0, 0], "[0]", 64, "one for each unit"),
    ("broadcast_loss", [0, 0, [0, 0]], "[2]", 1, "one for each unit"),
    ("delay", [0.25], "", 2, "one for each projection"),
    ("error_delay", [0.25] * 3, "", 2, "one for each projection"),
    ("loss", [], "", 2, "one for each projection"),
    ("error_loss", [0], "", 2, "one for each projection"),
]
SHALLOW: dict[str, Any] = {  # an actor without hidden layers
    "actor.units": [],
    "actor.activation": [],
    "actor.var": [],
    "actor.alpha": [0.1],
    "actor.anneal_to": [1.0],
}


def within(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Overrides that set keys of a section."""
    return {f"{section}.{key}": value for key, value in settings.items()}


def timing_with(settings: dict[str, Any], team: str = "critic") -> Timing:
    """One team's timing in CartPole's model with other values."""
    return spec.timing_of(spec.load("cartpole", settings).spec, team)


def test_the_keys_of_timing_are_those_of_the_documentation() -> None:
    page = Path(__file__).parent.parent / "docs" / "asynchronous.md"
    table = page.read_text("utf-8").partition("## Options")[2].partition("\n## ")[0]
    keys = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]
    assert keys == list(TIMING)
    assert [*keys, "actor", "critic"] == [field.name for field in msgspec.structs.fields(Timing)]


@pytest.mark.parametrize("key", TIMING)
def test_every_key_of_timing_has_its_default(key: str) -> None:
    (default, _) = TIMING[key]
    value = getattr(Timing(), key)
    assert (value, type(value)) == (default, type(default))


@pytest.mark.parametrize(
    "settings", [each for _, examples in TIMING.values() for each in examples], ids=str
)
@pytest.mark.parametrize("section", SECTIONS)
def test_values_of_timing_that_fit_each_other_are_taken(
    section: str, settings: dict[str, Any]
) -> None:
    overrides = within(section, settings)
    timing = timing_with(overrides, "actor" if section == "timing.actor" else "critic")
    assert {key: getattr(timing, key) for key in settings} == settings


@pytest.mark.parametrize(("key", "value", "problem"), WRONG_TIMING)
@pytest.mark.parametrize("section", SECTIONS)
def test_a_wrong_value_of_timing_is_refused_with_its_path_the_value_and_what_is_expected(
    section: str, key: str, value: Any, problem: str
) -> None:
    message = message_of(overrides={f"{section}.{key}": value})
    assert message.startswith(f"mine: {section}.{key} = {value!r}: ")
    assert problem in message


@pytest.mark.parametrize(("key", "values", "place", "entry", "problem"), WRONG_IN_A_LIST_OF_TIMING)
@pytest.mark.parametrize("section", SECTIONS)
def test_a_wrong_entry_of_a_list_of_timing_is_refused_with_its_place(
    section: str, key: str, values: Any, place: str, entry: Any, problem: str
) -> None:
    message = message_of(overrides={f"{section}.{key}": values})
    assert message.startswith(f"mine: {section}.{key}{place} = {entry!r}: ")
    assert problem in message


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_of_timing_is_refused_with_a_suggestion(section: str) -> None:
    message = message_of(overrides={f"{section}.feedbak": "random"})
    assert message.startswith(f"mine: {section}.feedbak: unknown key. Did you mean 'feedback'?")
    assert "Keys here are clock, rate" in message


@pytest.mark.parametrize("team", spec.TEAMS)
@pytest.mark.parametrize("inner", spec.TEAMS)
def test_the_keys_of_one_team_have_no_teams_in_them(team: str, inner: str) -> None:
    message = message_of(overrides={f"timing.{team}.{inner}.delay": 1})
    assert message.startswith(f"mine: timing.{team}.{inner}: unknown key.")
    assert message.endswith("trace_after.")


@pytest.mark.parametrize("path", SECTIONS)
def test_a_value_in_place_of_a_section_of_timing_is_refused(path: str) -> None:
    message = message_of(overrides={path: 3})
    assert message == f"mine: {path} = 3: expected section, got int."


@pytest.mark.parametrize(("settings", "key", "value", "remedy"), CONFLICTS)
@pytest.mark.parametrize("section", SECTIONS)
def test_values_of_timing_that_do_not_fit_each_other_are_refused_with_a_remedy(
    section: str, settings: dict[str, Any], key: str, value: str, remedy: str
) -> None:
    message = message_of(overrides=within(section, settings))
    assert message.startswith(f"mine: {section}.{key}: {value} ")
    assert remedy in message


@pytest.mark.parametrize(
    ("overrides", "path"),
    [
        ({"timing.rate": 2, "timing.clock": "poisson", "timing.critic.clock": "synchronous"}, ""),
        ({"timing.critic.rate": 2, "timing.clock": "synchronous"}, "critic."),
    ],
    ids=str,
)
def test_a_value_is_blamed_where_it_was_set(overrides: dict[str, Any], path: str) -> None:
    assert message_of(overrides=overrides).startswith(f"mine: timing.{path}rate: 2.0 needs clock")


def test_of_two_teams_each_is_checked_with_its_own_values() -> None:
    fitting = {"timing.rate": 2, "timing.actor.clock": "poisson", "timing.critic.rate": 1}
    assert timing_with(fitting, "actor").rate == 2
    del fitting["timing.critic.rate"]
    assert message_of(overrides=fitting).startswith("mine: timing.rate: 2.0 needs clock")


@pytest.mark.parametrize(("key", "value", "place", "needed", "meaning"), LENGTHS)
def test_a_list_of_timing_of_the_wrong_length_is_refused_with_the_right_one(
    key: str, value: list[Any], place: str, needed: int, meaning: str
) -> None:
    settings = {"timing.clock": "poisson", f"timing.critic.{key}": value}
    message = message_of(overrides=settings)
    assert message.startswith(f"mine: timing.critic.{key}{place}: [")
    assert f"the critic needs {needed}, {meaning}" in message


def test_how_many_outcomes_the_actor_has_is_left_to_the_task() -> None:
    rates = {"timing.clock": "poisson", "timing.actor.rate": [1, 1, [1, 2, 3, 4]]}
    assert timing_with(rates, "actor").rate == [1, 1, [1, 2, 3, 4]]
    message = message_of(overrides=rates | {"timing.rate": [1, [2], 1]})
    assert message.startswith("mine: timing.rate[1]: [2.0] has 1 entries; the critic needs 32")


def test_a_team_without_hidden_layers_has_no_projections_between_layers() -> None:
    fitting = SHALLOW | {"timing.actor.delay": [], "timing.actor.loss": [], "timing.delay": [1, 2]}
    assert timing_with(fitting | {"timing.actor.rate": [1]}, "actor").delay == []
    message = message_of(overrides=SHALLOW | {"timing.actor.delay": [1]})
    assert message.startswith("mine: timing.actor.delay: [1.0] has 1 entries; the actor needs 0")


def test_the_window_that_is_not_given_is_n() -> None:
    many = {"critic.N": 2**18}
    assert spec.load("cartpole", many).mode == "synchronous"
    message = message_of(overrides=many, mode="asynchronous")
    assert message.startswith("mine: critic.N: 262144 periods at rate 1.0")
    assert timing_with(many | {"timing.critic.window": 20}).window == 20
    assert timing_with({"timing.delay": 1}).window is None


def test_stale_means_are_not_available_asynchronously() -> None:
    message = message_of(spec.load("published/cartpole").text, mode="asynchronous")
    assert message.startswith("mine: learning.stale_first_mean: true ")
    assert "set it to false" in message


def climbing_model(changes: dict[str, Any] | None = None) -> Model:
    return spec.load("hill_climbing/cartpole", changes)


def test_the_climbing_variant_differs_from_the_plain_model_in_its_relaxation_alone() -> None:
    model, plain = climbing_model(), spec.load("cartpole")
    for team in spec.TEAMS:
        ours, theirs = getattr(model.spec, team), getattr(plain.spec, team)
        assert (ours.relaxation, theirs.relaxation) == ("hill_climbing", "gradient")
        assert (ours.proposal > 0.0, theirs.proposal) == (True, None)
    changes: dict[str, Any] = {}
    for team in spec.TEAMS:
        changes |= dict.fromkeys([f"{team}.relaxation", f"{team}.proposal"])
        changes |= {f"{team}.N": 20, f"{team}.step_size": 0.5}
    assert sections_of(climbing_model(changes)) == sections_of(plain)


@pytest.mark.parametrize("team", spec.TEAMS)
@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("cartpole", {"proposal": 0.1}, "proposal: 0.1 has no meaning with relaxation = 'gradi"),
        ("cartpole", {"relaxation": "climbing"}, "relaxation = 'climbing': one of 'gradient', 'hi"),
        (
            "cartpole",
            {"relaxation": "hill_climbing", "proposal": 0.1},
            "step_size: 0.5 has no meaning with relaxation = 'hill_climbing'; remove it.",
        ),
        (
            "hill_climbing/cartpole",
            {"proposal": None},
            "proposal: missing; relaxation = 'hill_climbing' needs it",
        ),
        ("hill_climbing/cartpole", {"N": None}, "N: missing; rule = 'map_prop'"),
        ("hill_climbing/cartpole", {"N": 2**20}, "N: 1048576 proposals are 1048576 or more"),
        ("hill_climbing/cartpole", {"proposal": 0.0}, "proposal = 0.0: expected"),
        ("hill_climbing/cartpole", {"proposal": math.nan}, "proposal = nan: expected"),
        (
            "reparameterised/cartpole",
            {"relaxation": "gradient"},
            "relaxation: 'gradient' has no meaning with rule = 'reparameterised'; remove it.",
        ),
        (
            "reparameterised/cartpole",
            {"proposal": 0.1},
            "proposal: 0.1 has no meaning with rule = 'reparameterised'; remove it.",
        ),
    ],
)
def test_keys_that_do_not_fit_the_relaxation_are_refused(
    team: str, name: str, changes: dict[str, Any], problem: str
) -> None:
    overrides = {f"{team}.{key}": value for key, value in changes.items()}
    message = message_of(spec.load(name).text, overrides)
    assert message.startswith(f"mine: {team}.{problem}")


def test_hill_climbing_has_no_first_mean_that_could_be_stale() -> None:
    text = climbing_model().text
    message = message_of(text, {"learning.stale_first_mean": True})
    assert message.startswith("mine: learning.stale_first_mean: true ")
    assert "actor.relaxation = 'hill_climbing'" in message
    assert "set it to false" in message


@pytest.mark.parametrize("team", spec.TEAMS)
def test_hill_climbing_is_not_available_asynchronously(team: str) -> None:
    other = {"actor": "critic", "critic": "actor"}[team]
    plain = {f"{other}.relaxation": "gradient", f"{other}.step_size": 0.5}
    text = climbing_model(plain | {f"{other}.proposal": None}).text
    message = message_of(text, mode="asynchronous")
    assert message.startswith(f"mine: {team}.relaxation: 'hill_climbing' is synchronous")


@pytest.mark.parametrize("team", spec.TEAMS)
def test_one_teams_timing_is_the_sections_with_its_own_keys_over_it(team: str) -> None:
    shared = {"delay": 2, "error_delay": [1, 3], "loss": 0.5, "clock": "poisson"}
    own = {"delay": [4, 5], "quantize": 8, "window": 7}
    model = spec.load("cartpole", within("timing", shared) | within(f"timing.{team}", own))
    assert spec.timing_of(model.spec, team) == Timing(**shared | own)
    (other,) = {*spec.TEAMS} - {team}
    assert spec.timing_of(model.spec, other) == Timing(**shared)


def test_the_timing_of_a_model_without_one_is_the_lockstep_limit() -> None:
    assert spec.timing_of(spec.load("cartpole").spec, "actor") == Timing()


# --- storage -------------------------------------------------------------------------------------


def test_a_record_is_compressed_by_gzip_and_keeps_every_bit_unless_the_model_says_otherwise() -> (
    None
):
    assert spec.load("cartpole").spec.storage == spec.Storage("gzip", "float64")
    assert spec.load("async/cartpole").spec.storage == spec.Storage("gzip", "float64")


@pytest.mark.parametrize(
    ("key", "values"),
    [("compression", ["gzip", "lz4", "none"]), ("values", ["float64", "float32"])],
)
def test_values_of_storage_are_taken_and_kept_in_the_text(key: str, values: list[str]) -> None:
    for value in values:
        model = spec.load("async/cartpole", {f"storage.{key}": value})
        assert getattr(model.spec.storage, key) == value
        assert getattr(spec.parse(model.text, "again").spec.storage, key) == value


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("compression", "zip", "'gzip', 'lz4', 'none'"),
        ("compression", 1, "expected"),
        ("values", "float16", "'float64', 'float32'"),
    ],
)
def test_a_wrong_value_of_storage_is_refused_with_its_path_and_what_is_expected(
    key: str, value: Any, problem: str
) -> None:
    message = message_of(overrides={f"storage.{key}": value})
    assert message.startswith(f"mine: storage.{key} = {value!r}: ")
    assert problem in message


def test_events_in_single_precision_need_units_that_have_events() -> None:
    message = message_of(overrides={"storage.values": "float32"})
    assert message.startswith("mine: storage.values: 'float32' ")
    assert "need a section [timing]; remove it." in message


def test_an_unknown_key_of_storage_is_refused_with_a_suggestion() -> None:
    message = message_of(overrides={"storage.compresion": "gzip"})
    assert message.startswith("mine: storage.compresion: unknown key. Did you mean 'compression'?")


# --- mode ----------------------------------------------------------------------------------------

# Ways to write a section: at the end, in the middle and in pieces, inline, as dotted keys.
TIMINGS = {
    "end": CARTPOLE + "\n[timing]\ndelay = 2\n\n[timing.critic]\nloss = 0.5\n",
    "pieces": with_line("[adam]", "[timing]\ndelay = 2\n\n[adam]") + "[timing.critic]\nloss = 0.5",
    "inline": "timing = {delay = 2, critic = {loss = 0.5}}\n" + CARTPOLE,
    "dotted": "timing.delay = 2\ntiming.critic.loss = 0.5\n" + CARTPOLE,
    "critic": CARTPOLE + "[timing.critic]\nloss = 0.5\ndelay = 2\n",
}


def plain() -> Spec:
    return spec.load("cartpole").spec


def test_a_model_with_timing_is_asynchronous_and_one_without_is_not() -> None:
    assert spec.parse(CARTPOLE, "mine").mode == "synchronous"
    assert spec.parse(CARTPOLE + "[timing]", "mine").mode == "asynchronous"


@pytest.mark.parametrize("text", TIMINGS.values(), ids=TIMINGS)
def test_synchronous_mode_leaves_timing_out_however_it_is_written(text: str) -> None:
    model = spec.parse(text, "mine", mode="synchronous")
    assert model.spec == plain()
    assert "timing" not in model.text
    assert spec.parse(model.text, "mine") == model


@pytest.mark.parametrize("text", TIMINGS.values(), ids=TIMINGS)
def test_asynchronous_mode_keeps_the_timing_of_a_model(text: str) -> None:
    model = spec.parse(text, "mine", mode="asynchronous")
    assert model == spec.parse(text, "mine")
    critic = spec.timing_of(model.spec, "critic")
    assert (critic.delay, critic.loss) == (2.0, 0.5)


@pytest.mark.parametrize(
    "text", [CARTPOLE, CARTPOLE + "[[record]]\nepisodes = [1]\nsteps = [0, 9]\n"]
)
def test_asynchronous_mode_gives_the_defaults_to_a_model_without_timing(text: str) -> None:
    model = spec.parse(text, "mine", mode="asynchronous")
    assert model.spec.timing == Timing()
    assert spec.parse(model.text, "mine") == model
    assert model.text.startswith(text)


@pytest.mark.parametrize("mode", [None, "asynchronous"])
@pytest.mark.parametrize("text", [CARTPOLE, *TIMINGS.values()], ids=["none", *TIMINGS])
def test_a_key_of_timing_can_be_set_and_makes_the_model_asynchronous(
    text: str, mode: spec.Mode | None
) -> None:
    model = spec.parse(text, "mine", {"timing.delay": 3, "timing.critic.delay": 4}, mode)
    assert model.mode == "asynchronous"
    assert spec.timing_of(model.spec, "actor").delay == 3
    assert spec.timing_of(model.spec, "critic").delay == 4
    assert spec.parse(model.text, "mine") == model


@pytest.mark.parametrize("key", ["timing.delay", "timing.critic.delay", "timing"])
@pytest.mark.parametrize("text", [CARTPOLE, ASYNC], ids=["none", "timing"])
def test_a_key_of_timing_cannot_be_set_in_synchronous_mode(text: str, key: str) -> None:
    message = message_of(text, {"actor.N": 3, key: 1}, "synchronous")
    assert message.startswith(f"mine: {key}: set but mode is synchronous; leave it out")
    assert "--mode asynchronous" in message


def test_removing_a_key_of_timing_that_is_not_there_leaves_the_model_synchronous() -> None:
    assert spec.load("cartpole", {"timing.delay": None}).mode == "synchronous"
    assert spec.load("async/cartpole", {"timing.delay": None}).spec.timing == Timing(
        **LOCAL | {"delay": 0.25}
    )
    assert spec.load("async/cartpole", {"timing": None}).mode == "synchronous"


def test_a_mode_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"'async'.*'synchronous', 'asynchronous'"):
        spec.load("cartpole", mode="async")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [None, "synchronous", "asynchronous"])
@pytest.mark.parametrize("name", ["cartpole", "async/cartpole"])
def test_the_command_runs_a_model_in_the_mode_that_is_asked_for(
    name: str, mode: spec.Mode | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[Model] = []

    def stop(model: Model, *_: Any, **__: Any) -> None:
        checked.append(model)
        raise InputError("far enough")

    monkeypatch.setattr("neurosim.experiment.check_before_run", stop)
    with pytest.raises(SystemExit):
        cli.main(["run", name, *(["--mode", mode] if mode else [])])
    assert checked == [spec.load(name, mode=mode)]


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
