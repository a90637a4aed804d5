"""Plant defects and check that the tests see them: ``python tests/mutants.py [PART]``.

PART is a part of a file's path below neurosim/, such as ``record/``, or of a defect's name: only
those defects are planted.

Each defect is planted alone, in a copy of the project, and the test that is named beside it must
then fail by an assertion. Exit status 1 if a defect survives.

The kernels run uncompiled (NUMBA_DISABLE_JIT=1), which is the same arithmetic and, for the small
networks of these tests, faster than compiling. Should they not run that way, they are compiled.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("neurosim", "models", "tests")
WORKERS = 2

ALGORITHM, THEORY = "test_algorithm.py::test_", "test_theory.py::test_"
SMALL_AGENT = f"{ALGORITHM}each_step_of_a_small_agent_is_the_oracles"
RELAXATION = f"{THEORY}a_relaxation_step_is_alpha_h_down_the_slope_of_the_energy"
GRADIENT = f"{THEORY}the_trace_takes_up_the_derivative_of_each_layers_log_density"
CLIMBING = f"{ALGORITHM}each_step_of_a_small_agent_that_climbs_is_the_oracles"
HOLD = "test_hold.py::test_"
HOLDING = f"{HOLD}each_step_of_a_small_agent_is_the_oracles"
INITIAL = "test_initial.py::test_"
BASELINES = "test_baselines.py::test_"
ASYNCHRONOUS = "test_asynchronous.py::test_"
ORACLE = f"{ASYNCHRONOUS}the_engine_has_the_oracles_bits"
LOCK_STEP = f"{ASYNCHRONOUS}packets_that_are_in_time_and_clocks_together_are_the_synchronous_mode"
MONTE_CARLO, TASKS = "test_monte_carlo.py::test_", "test_tasks.py::test_"
SMALL_TEAM = f"{MONTE_CARLO}each_batch_of_a_small_team_is_the_oracles"
AUDIT = "test_audit.py::test_"
REBUILT = f"{AUDIT}every_unit_is_rebuilt_from_its_inbox_with_any_option"
DETECTED = f"{AUDIT}whatever_is_altered_is_detected_and_named"
SHARED_WEIGHTS = f"{ASYNCHRONOUS}feedback_weights_that_start_as_the_weights_stay_the_weights"


ASYNCHRONOUS_RUN = "test_asynchronous_run.py::test_"
RECORDER = "test_recorder.py::test_"
REPRODUCTION = "test_reproduction.py::test_"
WHOLE_CHUNKS = (
    f"{RECORDER}every_segment_begins_with_a_whole_chunk_and_writes_the_unfinished_one_again[memory]"
)
WITHIN_A_CHUNK = f"{RECORDER}a_resumed_recorder_goes_on_within_a_chunk[memory]"


class Defect(NamedTuple):
    """A mistake that is easily made, and the test that must notice it."""

    name: str
    file: str  # below neurosim/
    old: str  # stands in it exactly once
    new: str
    test: str  # below tests/


DEFECTS = (
    Defect(
        "the slope is dropped from the error packet",
        "kernels/density.py",
        "(h[i] - mu[i]) * slope[i] / var[i]",
        "(h[i] - mu[i]) / var[i]",
        GRADIENT,
    ),
    Defect(
        "relaxation is Gauss-Seidel instead of Jacobi",
        "kernels/team.py",
        "            move(team, l)\n",
        "            move(team, l)\n"
        "            mean(team, l + 1)\n"
        "            packets(team, l + 1)\n",
        RELAXATION,
    ),
    Defect(
        "the feedback has the wrong sign",
        "kernels/team.py",
        "(mu[i] - h[i]) + var[i] * f[i]",
        "(mu[i] - h[i]) - var[i] * f[i]",
        RELAXATION,
    ),
    Defect(
        "after a rejected proposal its energy is held",
        "kernels/team.py",
        "        if proposed < held:\n            held = proposed\n        else:\n",
        "        lower = proposed < held\n        held = proposed\n        if not lower:\n",
        CLIMBING,
    ),
    Defect(
        "hill climbing leaves the action out of the energy",
        "kernels/team.py",
        "    total = 0.0\n    for l in range(1, team.size.size):\n",
        "    total = 0.0\n    for l in range(1, team.size.size - 1):\n",
        CLIMBING,
    ),
    Defect(
        "proposals take their numbers from the stream of the noise",
        "kernels/team.py",
        "np.uint64(PROPOSAL - NOISE)",
        "np.uint64(NOISE)",
        CLIMBING,
    ),
    Defect(
        "all samples that relax together get the gradient of the first one",
        "kernels/monte_carlo.py",
        "side.g[i * side.samples + s]",
        "side.g[i * side.samples]",
        f"{SMALL_TEAM}[softplus-map_prop]",
    ),
    Defect(
        "all samples of a batch propose what the first one does",
        "kernels/monte_carlo.py",
        "climb(team, key, first + s, 0)",
        "climb(team, key, first, 0)",
        f"{SMALL_TEAM}[softplus-climbing]",
    ),
    Defect(
        "units that hold their values still send the errors of their last decision",
        "kernels/team.py",
        "    if team.held[l] > 0:\n        g[:] = 0.0\n    elif",
        "    if",
        HOLDING,
    ),
    Defect(
        "units that hold their values move in the relaxation",
        "kernels/team.py",
        '  A layer that holds its values stays."""\n    if team.held[l] > 0:\n        return\n',
        '"""\n',
        HOLDING,
    ),
    Defect(
        "steps that a layer holds for are counted from the run, not from the episode",
        "kernels/team.py",
        "        team.held[l] = -1\n",
        "        team.held[l] += 0\n",
        HOLDING,
    ),
    Defect(
        "a layer that decides at every k-th step holds for k steps",
        "kernels/team.py",
        "% team.hold[l]",
        "% (team.hold[l] + 1)",
        HOLDING,
    ),
    Defect(
        "a value that is held is compared with the mean that it would have now",
        "kernels/team.py",
        ', if it decides."""\n    if team.held[l] > 0:\n        return\n',
        '."""\n',
        f"{HOLD}a_held_value_far_from_the_mean_it_would_have_now_is_no_divergence",
    ),
    Defect(
        "the energy counts layers that hold their values",
        "analysis/landscape.py",
        "        if network.held[k]:\n            continue\n",
        "",
        f"{HOLD}energy_slope_and_residual_are_of_the_layers_that_decide",
    ),
    Defect(
        "gamma is forgotten in the td_error",
        "kernels/agent.py",
        "reward + shared.gamma * next_value",
        "reward + next_value",
        SMALL_AGENT,
    ),
    Defect(
        "the td_error uses A instead of mu",
        "kernels/agent.py",
        "    value = critic.mu[-1]",
        "    value = critic.h[-1]",
        SMALL_AGENT,
    ),
    Defect(
        "lambda is forgotten in the trace",
        "network.py",
        "learning.gamma * spec.lambda_",
        "learning.gamma",
        SMALL_AGENT,
    ),
    Defect(
        "the temperature multiplies",
        "kernels/density.py",
        "(p[k] - largest) / temperature",
        "(p[k] - largest) * temperature",
        GRADIENT,
    ),
    Defect(
        "Adam's bias correction is lost",
        "kernels/team.py",
        "corrected = t < team.bias_correction_until",
        "corrected = False",
        f"{ALGORITHM}adams_epsilon_shortens_the_step_to_alpha_over_one_plus_epsilon",
    ),
    Defect(
        "the gate is inverted",
        "kernels/density.py",
        "1.0 / difference",
        "difference",
        f"{THEORY}the_critics_trace_takes_up_the_derivative_over_action_minus_mean",
    ),
    Defect(
        "the gate is forgotten",
        "kernels/team.py",
        "if team.gated:",
        "if False:",
        f"{THEORY}theorem_3_the_gated_trace_descends_the_squared_error_up_to_two_variances",
    ),
    Defect(
        "the gate has no floor",
        "kernels/density.py",
        "if size < floor:",
        "if False:",
        f"{ALGORITHM}the_gate_floor_holds_the_critics_gate_at_its_reciprocal",
    ),
    Defect(
        "the terminal update is skipped",
        "kernels/agent.py",
        "if not begins or shared.update_at_reset:",
        "if kind == STEP or shared.update_at_reset:",
        f"{ALGORITHM}the_terminal_transition_is_learned_with_reward_minus_value",
    ),
    Defect(
        "learning comes after the relaxation",
        "kernels/agent.py",
        "    if not begins or shared.update_at_reset:\n"
        "        learn_both(actor, critic, shared)\n"
        "    return settle(actor, critic, shared) if acts else (-1, -1)",
        "    bad = settle(actor, critic, shared) if acts else (-1, -1)\n"
        "    if not begins or shared.update_at_reset:\n"
        "        learn_both(actor, critic, shared)\n"
        "    return bad",
        SMALL_AGENT,
    ),
    Defect(
        "the two teams share their noise",
        "network.py",
        "256 * TEAMS.index(name)",
        "0",
        f"{ALGORITHM}noise_of_actor_and_critic_is_unrelated",
    ),
    Defect(
        "the biases are not learned",
        "kernels/team.py",
        "b = a + n_out * n_in + n_out",
        "b = a + n_out * n_in",
        SMALL_AGENT,
    ),
    Defect(
        "the reward bound is ignored",
        "kernels/agent.py",
        "bound if reward > bound else reward",
        "reward",
        f"{ALGORITHM}rewards_are_held_within_the_bound_for_learning",
    ),
    Defect(
        "the actor's traces outlive the episode",
        "kernels/agent.py",
        "        begin_episode(actor)\n",
        "",
        f"{ALGORITHM}the_first_step_of_an_episode_clears_the_traces",
    ),
    Defect(
        "the transposed weights are not kept up to date",
        "kernels/team.py",
        "        transpose(",
        "        0 and transpose(",
        SMALL_AGENT,
    ),
    Defect(
        "units that do not explore are updated",
        "kernels/team.py",
        "            team.g[i] = 0.0\n",
        "            team.g[i] *= 1.0\n",
        f"{BASELINES}units_that_do_not_explore_output_their_mean_and_only_their_old_traces_are_left"
        "[softmax]",
    ),
    Defect(
        "units explore together or not at all",
        "kernels/team.py",
        "uniform(key, team.count[PASSES], i - inputs, where)",
        "uniform(key, team.count[PASSES], 0, where)",
        f"{BASELINES}units_that_do_not_explore_output_their_mean_and_only_their_old_traces_are_left"
        "[gaussian]",
    ),
    Defect(
        "who explores hangs on the unit's noise",
        "kernels/team.py",
        "np.uint64(EXPLORE - NOISE)",
        "np.uint64(0)",
        f"{BASELINES}each_step_of_a_small_agent_is_the_oracles[softmax-thomas-backprop-plain-2]",
    ),
    Defect(
        "the slope is dropped on the way down",
        "kernels/team.py",
        "team.g[i] = team.f[i] * team.slope[i]",
        "team.g[i] = team.f[i]",
        f"{BASELINES}an_actors_trace_takes_up_the_derivative_of_the_actions_log_density"
        "[softplus-softmax-backprop]",
    ),
    Defect(
        "backprop takes values of before the update",
        "kernels/team.py",
        "if l < last or still:",
        "if False:",
        f"{BASELINES}each_step_of_a_small_agent_is_the_oracles[softmax-reparameterised-map_prop-plain-2]",
    ),
    Defect(
        "noise is drawn anew for the way down",
        "kernels/team.py",
        "        if l < last or still:\n",
        "        if l < last or still:\n"
        "            for i in range(team.unit[l], team.unit[l] + team.size[l]):\n"
        "                team.noise[i] = -team.noise[i]\n",
        f"{BASELINES}a_critics_trace_takes_up_the_derivative_of_its_value"
        "[softplus-reparameterised]",
    ),
    Defect(
        "the critic's gradient is scaled by its value",
        "kernels/team.py",
        "team.g[-1] = 1.0",
        "team.g[-1] = team.mu[-1]",
        f"{BASELINES}a_critics_trace_takes_up_the_derivative_of_its_value[softplus-backprop]",
    ),
    Defect(
        "hidden units by backprop are noisy",
        "network.py",
        "[0.0] * len(spec.units)",
        "[0.1] * len(spec.units)",
        f"{BASELINES}hidden_units_and_critics_by_backprop_are_deterministic",
    ),
    Defect(
        "the output does not always explore",
        "kernels/team.py",
        "for i in range(inputs, outputs):",
        "for i in range(inputs, team.noise.size):",
        f"{BASELINES}units_that_do_not_explore_output_their_mean_and_only_their_old_traces_are_left"
        "[gaussian]",
    ),
    Defect(
        "the error clock is the value clock",
        "timing.py",
        'lag = period // 2 if timing.error_clock == "antiphase" else np.zeros_like(period)',
        "lag = np.zeros_like(period)",
        f"{LOCK_STEP}[softmax-a quarter]",
    ),
    Defect(
        "the slope is dropped from a unit's error packet",
        "kernels/unit.py",
        "(h - mu) * slope / var",
        "(h - mu) / var",
        f"{LOCK_STEP}[softmax-periodic clocks]",
    ),
    Defect(
        "the trace takes the unit's latest error, sent or not",
        "kernels/engine.py",
        "g = mail.last[units + u] if mail.sent[units + u] > 0 else team.g[u]",
        "g = team.g[u]",
        f"{SHARED_WEIGHTS}[send_on_delta-kolen_pollack]",
    ),
    Defect(
        "learned feedback weights take a unit's value, not what it sent",
        "kernels/engine.py",
        "h = mail.last[u]\n",
        "h = team.h[u]\n",
        f"{SHARED_WEIGHTS}[quantize-kolen_pollack]",
    ),
    Defect(
        "feedback weights do not follow the weights",
        "kernels/engine.py",
        "            team.wt[place] = w\n",
        "            team.wt[place] *= 1.0\n",
        f"{SHARED_WEIGHTS}[plain-symmetric]",
    ),
    Defect(
        "silent units report their first error at the broadcast",
        "kernels/engine.py",
        "elif wiring.silent and ",
        "elif wiring.silent and mail.error_ticks[u] > 0 and ",
        f"{ORACLE}[softmax-silent]",
    ),
    Defect(
        "the trace after an error tick takes the last mailbox",
        "kernels/engine.py",
        "g, x = mail.tagged_g[u], mail.tagged_x[first : first + n]",
        "g = mail.tagged_g[u]",
        f"{ORACLE}[softmax-trace_after]",
    ),
    Defect(
        "units move before all those above have reported",
        "kernels/engine.py",
        "if moving and not mail.armed[n]:",
        "if False:",
        f"{ASYNCHRONOUS}where_all_errors_are_lost_nobody_is_armed_and_learning_goes_on[packet]",
    ),
    Defect(
        "ticks farther apart than a delay are taken for simultaneous",
        "timing.py",
        "_shortest(team, delay),",
        "2 * _shortest(team, delay),",
        f"{ORACLE}[softmax-poisson]",
    ),
    Defect(
        "units read the values below as they are, not as they arrived",
        "kernels/engine.py",
        "    x, _ = mailbox(team, wiring, mail, UP, u, layer)\n    team.p[u]",
        "    x = team.h[team.unit[layer - 1] : team.unit[layer]]\n    team.p[u]",
        f"{ASYNCHRONOUS}a_unit_needs_its_own_row_its_own_state_and_its_mailbox_alone"
        "[gaussian-shared slots]",
    ),
    Defect(
        "an older packet is the newest",
        "kernels/traffic.py",
        "number < mail.heard_number[source]",
        "number > mail.heard_number[source]",
        f"{ORACLE}[softmax-newest]",
    ),
    Defect(
        "the heap is upside down",
        "kernels/traffic.py",
        "x > y or",
        "x < y or",
        f"{ORACLE}[softmax-packet_delay]",
    ),
    Defect(
        "a packet that lands with a tick is seen after it",
        "kernels/traffic.py",
        "mail.packets[4 * head] <= now",
        "mail.packets[4 * head] < now",
        f"{ORACLE}[softmax-no delay]",
    ),
    Defect(
        "receivers lose a packet together",
        "kernels/traffic.py",
        "1024 * (i + 1)",
        "1024",
        f"{ASYNCHRONOUS}each_receiver_loses_a_packet_on_its_own",
    ),
    Defect(
        "what lands after the window counts as delivered",
        "kernels/traffic.py",
        "late = arrival > mail.clock[CLOSE]\n    if wiring.newest",
        "late = False\n    if wiring.newest",
        f"{ORACLE}[softmax-defaults]",
    ),
    Defect(
        "the age of a value is counted from its arrival",
        "kernels/traffic.py",
        "mail.sent_sum[lane] += time - mail.heard_time[source]\n"
        "        mail.heard_time[source] = time",
        "mail.sent_sum[lane] += arrival - mail.heard_time[source]\n"
        "        mail.heard_time[source] = arrival",
        f"{ASYNCHRONOUS}a_window_counts_the_ages_of_what_it_uses",
    ),
    Defect(
        "jitter adds up",
        "kernels/clock.py",
        "key, event + made, unit, where, time, wiring.jitter, wiring.period[u]",
        "key, event + made, unit, where, times[made - 1] + wiring.period[u] if made else time, "
        "wiring.jitter, wiring.period[u]",
        f"{ASYNCHRONOUS}jitter_moves_each_tick_by_itself",
    ),
    Defect(
        "a Poisson clock's intervals come again",
        "kernels/clock.py",
        "poisson_intervals(key, event + made, ",
        "poisson_intervals(key, event, ",
        f"{ASYNCHRONOUS}intervals_of_poisson_clocks_are_exponential_and_never_used_twice",
    ),
    Defect(
        "all units have the same clock",
        "kernels/clock.py",
        "tick_times(wiring, u, event, u - inputs, where",
        "tick_times(wiring, u, event, 0, where",
        f"{ASYNCHRONOUS}a_poisson_clock_ticks_on_average_as_often_as_its_rate_says",
    ),
    Defect(
        "mailboxes that grow are emptied",
        "timing.py",
        "if before.size == after.size:",
        "if False:",
        f"{ASYNCHRONOUS}the_room_that_buffers_have_changes_no_bits[timer]",
    ),
    Defect(
        "a checkpoint forgets what mailboxes hold",
        "learners/asynchronous.py",
        '"updates", "heard", "heard_time"',
        '"updates", "heard_time"',
        f"{ASYNCHRONOUS}an_agent_that_is_restored_between_episodes_goes_on_with_the_same_bits"
        "[timer before arrival]",
    ),
    Defect(
        "a batch is added up, not averaged",
        "kernels/monte_carlo.py",
        "learn(team, 1.0 / signal.size, ",
        "learn(team, 1.0, ",
        f"{SMALL_TEAM}[softplus-map_prop]",
    ),
    Defect(
        "gradients of the batch before are not forgotten",
        "kernels/monte_carlo.py",
        "    clear_traces(team)\n",
        "",
        f"{SMALL_TEAM}[softplus-reinforce]",
    ),
    Defect(
        "the answer is compared with A instead of mu",
        "kernels/monte_carlo.py",
        "(answer - team.mu[-1]) * gate",
        "(answer - team.h[-1]) * gate",
        f"{MONTE_CARLO}theorem_3_a_relaxed_batch_descends_the_squared_error_up_to_two_variances"
        "[sampled]",
    ),
    Defect(
        "the coin always falls on the same side",
        "kernels/team.py",
        "1.0 if drawn > 0.0 else -1.0",
        "1.0",
        f"{SMALL_TEAM}[softplus-regression coin]",
    ),
    Defect(
        "the coin falls around the sampled pass",
        "kernels/team.py",
        "    for i in range(inputs, output):\n        team.noise[i] = 0.0\n",
        "    draw_noise(team, key)\n",
        f"{SMALL_TEAM}[softplus-regression coin]",
    ),
    Defect(
        "all samples of a run have the same noise",
        "kernels/team.py",
        "    team.count[PASSES] += 1\n",
        "",
        f"{MONTE_CARLO}no_sample_comes_twice",
    ),
    Defect(
        "the least significant bit of an address comes first",
        "kernels/drawing.py",
        "address = 2 * address + (1 if x[i] == 1.0 else 0)",
        "address += 2**i if x[i] == 1.0 else 0",
        f"{TASKS}the_most_significant_bit_of_an_address_comes_first",
    ),
    Defect(
        "the regression's target is not rectified",
        "kernels/drawing.py",
        "total if total > 0.0 else 0.0",
        "total",
        f"{TASKS}samples_drawn_in_batches_have_the_answers_and_rewards_of_the_truth",
    ),
    Defect(
        "a checkpoint of Algorithm 1 forgets Adam's moments",
        "learners/monte_carlo.py",
        '("w", "m", "v", "count")',
        '("w", "count")',
        f"{MONTE_CARLO}a_learner_that_is_restored_goes_on_with_the_same_bits[map_prop]",
    ),
    Defect(
        "an audit takes another unit's row of weights",
        "audit/alone.py",
        "    i = u - int(team.unit[layer])\n",
        "    i = max(u - int(team.unit[layer]) - 1, 0)\n",
        f"{REBUILT}[poisson-softmax]",
    ),
    Defect(
        "an audit reads the packets of other receivers",
        "audit/inbox.py",
        "to_it = (log.unit == NOBODY) | ((log.unit >= first) & (log.unit < last))",
        "to_it = log.unit >= NOBODY",
        f"{REBUILT}[loss per synapse-softmax]",
    ),
    Defect(
        "an audit forgets silence",
        "kernels/replay.py",
        "elif wiring.silent and not agent.top",
        "elif False and not agent.top",
        f"{REBUILT}[silent-softmax]",
    ),
    Defect(
        "an audit forgets what mailboxes held before",
        "audit/alone.py",
        'np.tile(state["heard"][below : below + n], (K, 1))',
        "np.zeros((K, n))",
        f"{REBUILT}[timer-softmax]",
    ),
    Defect(
        "an audit forgets that an episode begins without traces",
        "kernels/replay.py",
        "if given.clears[s]:",
        "if False:",
        f"{REBUILT}[poisson-softmax]",
    ),
    Defect(
        "an audit's feedback weights stay behind those above",
        "kernels/replay.py",
        "if given.change_time[change] > time:",
        "if True:",
        f"{REBUILT}[poisson-softmax]",
    ),
    Defect(
        "an audit ignores the traces after a window",
        "audit/alone.py",
        '_PARAMETERS = {"w": "", "z": "z",',
        '_PARAMETERS = {"w": "", "z": "",',
        f"{DETECTED}[a_trace_after]",
    ),
    Defect(
        "an audit ignores rows that are missing",
        "kernels/replay.py",
        "    found.count[0] = n + 1\n",
        "",
        f"{DETECTED}[a_tick_that_is_gone]",
    ),
    Defect(
        "an audit ignores packets that never arrive",
        "audit/between.py",
        "np.flatnonzero(wires.lacking)",
        "np.flatnonzero(wires.lacking < 0)",
        f"{DETECTED}[a_delivery_that_is_gone]",
    ),
    Defect(
        "an audit ignores how long packets take",
        "audit/between.py",
        '("kind", "unit", "source", "time", "value")',
        '("kind", "unit", "source", "value")',
        f"{DETECTED}[two_deliveries_swapped_in_time]",
    ),
    Defect(
        "an audit lets a unit read its own rows",
        "audit/inbox.py",
        "np.where(own, np.nan, rows.value)",
        "rows.value",
        f"{AUDIT}a_unit_does_not_read_the_values_of_its_own_rows",
    ),
    Defect(
        "the sampled values and the relaxed ones change places",
        "record/log.py",
        '{f"{name}_sampled": team.sampled[units], f"{name}_relaxed": team.h[units]}',
        '{f"{name}_sampled": team.h[units], f"{name}_relaxed": team.sampled[units]}',
        f"{ASYNCHRONOUS_RUN}the_last_value_of_each_unit_is_the_relaxed_one[fully local]",
    ),
    Defect(
        "the row that sent a packet is taken for the one before it",
        "kernels/merge.py",
        "return row - sender[packet - smallest]",
        "return row - sender[packet - smallest] + 1",
        f"{ASYNCHRONOUS_RUN}every_arrival_and_loss_names_the_row_that_sent_its_packet[fully local]",
    ),
    Defect(
        "the last segment is not sealed",
        "record/sealing.py",
        "return merge([*segments], ",
        "return merge([*segments[:-1]], ",
        "test_sealing.py::test_chunks_that_fit_are_copied_as_they_are[gzip]",
    ),
    Defect(
        "the last row of a chunk is the first of the next one, too",
        "record/recorder.py",
        "        self._buffer = np.empty_like(self._buffer)\n"
        "        self.filled = self.written = 0\n",
        "        self._buffer = np.roll(self._buffer, 1, axis=0)\n"
        "        self.filled, self.written = 1, 0\n",
        f"{RECORDER}rows_that_go_on_are_not_those_that_are_being_written[memory]",
    ),
    Defect(
        "a segment says that it begins a chunk earlier",
        "record/recorder.py",
        "dataset.attrs[FIRST_ROW] = self._first[path] = first",
        "self._first[path] = first\n"
        "            dataset.attrs[FIRST_ROW] = max(0, first - chunks[0])",
        WHOLE_CHUNKS,
    ),
    Defect(
        "the rows that do not fill a chunk are not written again",
        "record/recorder.py",
        "return self.first, self._buffer[: self.filled].copy()",
        "return self.first + self.written, self._buffer[self.written : self.filled].copy()",
        WHOLE_CHUNKS,
    ),
    Defect(
        "rows that join a chunk after a commit are not written",
        "record/recorder.py",
        "if rows.filled > rows.written",
        "if rows.filled > rows.written == 0",
        WHOLE_CHUNKS,
    ),
    Defect(
        "a resumed record takes the rows of its chunk for new ones",
        "record/recorder.py",
        "        self.written = self.filled\n",
        "        self.first += self.filled\n",
        WITHIN_A_CHUNK,
    ),
    Defect(
        "a segment begins where the one before it ends, whatever it says",
        "record/contents.py",
        "first = int(node.attrs.get(FIRST_ROW, self.shape[0]))",
        "first = self.shape[0]",
        WITHIN_A_CHUNK,
    ),
    Defect(
        "the first events of a window are rows of all windows",
        "record/reader.py",
        "relative: Integers = bounds - bounds[0]",
        "relative: Integers = bounds",
        "test_reader.py::test_a_window_is_its_rows_of_every_table[memory]",
    ),
    Defect(
        "of many checkpoints the oldest goes",
        "record/checkpoint.py",
        "files.pop(min(gaps, key=gaps.__getitem__)).unlink()",
        "files.pop(min(gaps)).unlink()",
        "test_checkpoint.py::"
        "test_at_most_eight_checkpoints_are_kept_and_they_are_spread_over_the_run[1]",
    ),
    Defect(
        "the standard deviation of a sample is of n - 1",
        "analysis/statistics.py",
        "std=float(values.std()),",
        "std=float(values.std(ddof=1)),",
        f"{REPRODUCTION}a_sample_is_described_by_the_textbook_formulas",
    ),
    Defect(
        "Holm's corrected p falls again",
        "analysis/statistics.py",
        "largest = max(largest, min(1.0, (len(p) - rank) * p[index]))",
        "largest = min(1.0, (len(p) - rank) * p[index])",
        "test_comparison.py::test_holms_correction_is_that_of_his_example",
    ),
    Defect(
        "conditions are compared with the last one",
        "studies/comparison.py",
        "differences = [None, *(compare(each, scores[0]) for each in scores[1:])]",
        "differences = [None, *(compare(each, scores[-1]) for each in scores[1:])]",
        "test_comparison.py::test_the_table_is_of_the_run_files_paired_by_seed",
    ),
    Defect(
        "a run of a model with other values is taken for one's own",
        "experiment.py",
        'if replace(there.spec, description="") != replace(model.spec, description=""):',
        "if there.name != model.name:",
        f"{REPRODUCTION}a_run_with_other_values_is_not_taken_for_it_but_one_with_other_words_is",
    ),
    Defect(
        "a published mean is met from below alone",
        "reproduction/table1.py",
        "if abs(difference) <= published.std:",
        "if 0 <= -difference <= published.std:",
        f"{REPRODUCTION}the_verdict_is_of_the_published_standard_deviation[just_within]",
    ),
    Defect(
        "a search forgets the trial that was running",
        "tuning.py",
        "left.pop() if left else _Begun(study.ask(), 0, 0.0)",
        "_Begun(study.ask(), 0, 0.0)",
        "test_tuning.py::"
        "test_a_search_that_was_stopped_goes_on_and_finishes_the_trial_that_was_running",
    ),
    Defect(
        "a trial's score is that of its last seed",
        "tuning.py",
        "study.tell(trial, begun.mean)",
        "study.tell(trial, score)",
        "test_tuning.py::"
        "test_the_models_own_values_are_tried_first_and_the_best_values_score_what_is_said",
    ),
    Defect(
        "runs that had not begun when a worker was killed are forgotten",
        "sweep/processes.py",
        "left = [name for name in killed if name not in begun]",
        "self.ended |= {n: _killed(n) for n in killed if n not in begun}",
        "test_sweep.py::test_a_run_that_kills_its_workers_fails_alone_and_is_named",
    ),
    Defect(
        "the loop of two packets turns the wrong way",
        "analysis/stability.py",
        "D = np.arccos(-1.0 / o)",
        "D = np.arccos(1.0 / o)",
        "test_stability.py::test_the_delay_equation_settles_below_the_critical_delay_and_not_above",
    ),
    Defect(
        "a unit feels the whole Hessian by way of packets",
        "analysis/stability.py",
        "return float(self.lambda_max.max() - 1.0)",
        "return float(self.lambda_max.max())",
        "test_stability.py::test_verdicts_and_warnings",
    ),
    Defect(
        "a run begins with drawn weights after all",
        "experiment.py",
        "course.learner.begin_with(weights)",
        "pass",
        f"{INITIAL}the_first_weights_are_the_last_ones_of_the_run_before[cartpole-cartpole]",
    ),
    Defect(
        "feedback weights stay those of the drawn weights",
        "learners/map_prop.py",
        "                view[...] = weights[name][key]\n            orient(team)",
        "                view[...] = weights[name][key]",
        f"{INITIAL}the_first_weights_are_the_last_ones_of_the_run_before[cartpole-async/cartpole]",
    ),
)


class Outcome(NamedTuple):
    """What the tests said."""

    passed: int
    failed_assertions: int
    complaint: str  # what went wrong other than an assertion; empty if nothing


def copy_project(folder: Path) -> None:
    """Copy what the tests need into a folder."""
    ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)


def environment(folder: Path, compiled: bool) -> dict[str, str]:
    """Variables under which the copy is imported, and nothing is kept from it."""
    return os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(folder / "cache"),
        "NUMBA_DISABLE_JIT": "0" if compiled else "1",
    }


def run_tests(folder: Path, tests: Iterable[str], compiled: bool) -> Outcome:
    """Run tests in a copy of the project."""
    where = subprocess.run(
        [sys.executable, "-c", "import neurosim; print(neurosim.__file__)"],
        cwd=folder,
        env=environment(folder, compiled),
        capture_output=True,
        text=True,
        check=True,
    )
    if not Path(where.stdout.strip()).is_relative_to(folder):
        raise RuntimeError(f"the tests would import {where.stdout.strip()}, not the copy")
    report = folder / "report.xml"
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*pytest, f"--junitxml={report}", *(f"tests/{test}" for test in tests)],
        cwd=folder,
        env=environment(folder, compiled),
        capture_output=True,
        text=True,
    )
    if not report.exists():
        return Outcome(0, 0, f"pytest stopped with status {ran.returncode}: {ran.stdout[-300:]}")
    cases = list(ElementTree.parse(report).iter("testcase"))
    failures = [f.get("message", "") for case in cases for f in case.iter("failure")]
    errors = [e.get("message", "") for case in cases for e in case.iter("error")]
    others = [m for m in failures if not m.startswith(("assert", "AssertionError"))] + errors
    passed = sum(1 for case in cases if len(case) == 0)
    complaint = others[0].splitlines()[0] if others else "" if cases else "no test ran"
    return Outcome(passed, len(failures) + len(errors) - len(others), complaint)


def plant(defect: Defect, folder: Path) -> None:
    """Put a defect into a copy of the project."""
    path = folder / "neurosim" / defect.file
    source = path.read_text("utf-8")
    count = source.count(defect.old)
    if count != 1:
        raise RuntimeError(
            f"{defect.name!r} cannot be planted: {defect.file} has the text to replace "
            f"{count} times, not once:\n{defect.old}"
        )
    path.write_text(source.replace(defect.old, defect.new), "utf-8")


def verdict(defect: Defect, compiled: bool) -> str:
    """'caught', or why not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_project(folder)
        plant(defect, folder)
        outcome = run_tests(folder, [defect.test], compiled)
    if outcome.complaint:
        return f"NOT AN ASSERTION: {outcome.complaint}"
    return "caught" if outcome.failed_assertions else "SURVIVED"


def needs_compiling(defects: Sequence[Defect]) -> bool:
    """Check that all tests are green without a defect; True if only the compiled kernels run."""
    tests = sorted({defect.test for defect in defects})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_project(folder)
        for compiled in (False, True):
            outcome = run_tests(folder, tests, compiled)
            if outcome.passed and not outcome.failed_assertions and not outcome.complaint:
                return compiled
    raise RuntimeError(f"the tests are not green to begin with: {outcome}")


def main(part: str = "") -> int:
    """Plant the defects that are asked for; print a table."""
    defects = [defect for defect in DEFECTS if part in defect.file or part in defect.name]
    if not defects:
        raise SystemExit(f"There is no defect {part!r}.")
    compiled = needs_compiling(defects)
    with ThreadPoolExecutor(WORKERS) as pool:
        verdicts = list(pool.map(lambda defect: verdict(defect, compiled), defects))
    width = max(len(defect.name) for defect in defects)
    for defect, said in zip(defects, verdicts, strict=True):
        print(f"{defect.name:{width}}  {said:8}  {defect.test}")
    caught = verdicts.count("caught")
    print(f"{caught} of {len(defects)} defects caught")
    return 0 if caught == len(defects) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
