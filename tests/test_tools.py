"""A run file in other tools, unaided: h5py, xarray with either of its engines, h5dump."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from recording import bits

import neurosim
from neurosim.kernels.traffic import KINDS

# Group: the names of its dimensions, by dataset.
DIMENSIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "episodes": {"return": ("episode",), "terminated": ("episode",)},
    "steps": {
        "reward": ("step",),
        "observation": ("step", "component"),
        "actor_sent": ("step", "direction", "actor_projection"),
        "critic_staleness": ("step", "direction", "age"),
    },
    "windows": {"n_steps": ("window",), "complete": ("window",)},
    "windows/steps": {
        "step": ("recorded_step",),
        "actor_sampled": ("recorded_step", "actor_unit"),
        "critic_relaxed": ("recorded_step", "critic_unit"),
    },
    "windows/events": dict.fromkeys(("time", "team", "unit", "kind", "value", "cause"), ("event",)),
    "windows/actor/before": {
        "W1": ("window", "layer_1", "input"),
        "b2": ("window", "layer_2"),
        "zW2": ("window", "layer_2", "layer_1"),
        "adam_count": ("window", "unit"),
    },
    "windows/critic/after": {"vW3": ("window", "layer_3", "layer_2")},
    "teams/actor/units": {"layer": ("unit",), "var": ("unit",)},
    "teams/actor/weights/initial": {"W2": ("layer_2", "layer_1"), "B2": ("layer_1", "layer_2")},
    "teams/critic/weights/final": {"W1": ("layer_1", "input")},
    "teams/actor/totals": {"sent": ("direction", "projection")},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sealed file of an asynchronous run with two windows; layers of different sizes."""
    settings = {
        "task.episodes": 3,
        "actor.units": [6, 5],
        "critic.units": [7, 4],
        "actor.N": 4,
        "critic.N": 4,
        "record": [{"episodes": [1, 3], "steps": [1, 4]}],
    }
    model = neurosim.load("async/cartpole", settings)
    return neurosim.run(model, 0, tmp_path_factory.mktemp("tools")) / "run.h5"


def groups_with_datasets(file: Path) -> list[str]:
    found: set[str] = set()

    def visit(path: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not node.is_scale:
            found.add(path.rpartition("/")[0])

    with h5py.File(file) as opened:
        opened.visititems(visit)
    return sorted(found)


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_every_group_with_its_dimensions_and_values(engine: str, file: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip({"netcdf4": "netCDF4"}.get(engine, engine))
    groups = groups_with_datasets(file)
    assert set(DIMENSIONS) <= set(groups)
    for group in groups:
        with (
            xarray.open_dataset(file, group=group, engine=engine, decode_cf=False) as dataset,
            h5py.File(file) as plain,
        ):
            names = [name for name, node in plain[group].items() if is_data(node)]
            assert set(dataset.variables) == set(names)
            for name in names:
                values = dataset[name].values
                expected = plain[group][name][...]
                assert values.shape == expected.shape, (group, name)
                assert np.array_equal(values, expected), (group, name)
            for name, dimensions in DIMENSIONS.get(group, {}).items():
                assert dataset[name].dims == dimensions, (group, name)
                if name in ("reward", "time"):
                    assert dataset[name].attrs["description"]


def is_data(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and not node.is_scale


def test_plain_h5py_names_kinds_dimensions_and_units(file: Path) -> None:
    with h5py.File(file) as plain:
        for group, datasets in DIMENSIONS.items():
            for name, dimensions in datasets.items():
                node = plain[group][name]
                found = [dimension[0].name.rpartition("/")[2] for dimension in node.dims]
                assert tuple(found) == dimensions, (group, name)
        kind = h5py.check_enum_dtype(plain["windows/events/kind"].dtype)
        assert sorted(kind, key=kind.__getitem__) == list(KINDS)
        assert plain["episodes/length"].attrs["units"] == "steps"


def test_a_run_opens_while_other_tools_have_its_file_open(file: Path) -> None:
    with h5py.File(file) as plain, neurosim.open(file) as run:
        for group in groups_with_datasets(file):
            for name, node in plain[group].items():
                if is_data(node):
                    assert bits(node[...]) == bits(run[f"{group}/{name}"][...]), (group, name)


def test_other_tools_open_the_file_of_a_run_that_is_open(file: Path) -> None:
    with neurosim.open(file) as run, h5py.File(file) as plain:
        assert bits(plain["steps/reward"][...]) == bits(run.steps["reward"][...])


def test_h5dump_prints_the_header_and_the_values(file: Path) -> None:
    """Of HDF5 1.10 or later."""
    if shutil.which("h5dump") is None:
        pytest.skip("h5dump is not installed")
    header = dump("-H", file)
    with neurosim.open(file) as run:
        for group, datasets in DIMENSIONS.items():
            for name in datasets:
                assert re.search(rf'GROUP "{group.rpartition("/")[2]}"', header)
                assert f'DATASET "{name}"' in header
        rewards, kinds = run.steps["reward"][:], run.table("windows/events")["kind"][:]
        weights = run.windows[1].after("critic")["W1"]
    # -m: digits enough for every bit; -y -w 0: no row numbers, no line breaks.
    values = dumped(dump("-m", "%.17g", "-y", "-w", "0", "-d", "/steps/reward", file))
    assert [float(value) for value in values] == rewards.tolist()
    assert dumped(dump("-y", "-w", "0", "-d", "/windows/events/kind", file)) == [
        KINDS[code] for code in kinds
    ]
    of_second = ("-d", "/windows/critic/after/W1", "-s", "1,0,0", "-c", "1,7,4")
    values = dumped(dump("-m", "%.17g", "-y", "-w", "0", *of_second, file))
    assert [float(value) for value in values] == weights.ravel().tolist()


def dump(*arguments: object) -> str:
    """What h5dump prints."""
    done = subprocess.run(["h5dump", *map(str, arguments)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def dumped(text: str) -> list[str]:
    """The values in the first DATA block, which is the dataset's."""
    block = re.search(r"DATA \{(.*?)\}", text, re.S)
    assert block
    return [value for value in re.split(r"[,\s]+", block[1]) if value]
