"""Trains a policy of LeRobot's on an exported folder, and saves it after so many minutes of a core.

    python tests/peers/lerobot_train.py act|diffusion FOLDER EPISODES OUT MINUTES ... -- KEY ...

EPISODES is a JSON list of the episodes to train on. LeRobot's own data set class reads the folder
(batches are drawn from memory), its own normalization, loss and optimizer; the learning rate stays
as it is. Prints a line for every file `policy-MINUTES.pth`. Runs in its interpreter.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot_model import ACTION, OBJECTS, STATE, make_policy

BATCH = 64
SPREAD_FLOOR = 0.02
"""No observation is divided by less, as in our own policies."""
CLIPPED = 10.0
"""Bound of the gradient's norm, LeRobot's own."""


def columns(dataset, keys):
    """Columns of each feature whose key is wanted; what is told of objects is taken from there."""
    names = {feature: dataset.features[feature]["names"] for feature in (STATE, OBJECTS)}
    key = {name: name.rsplit(".", 1)[0] for name in names[STATE]}
    state = [n for n in names[STATE] if key[n] in keys and n not in names[OBJECTS]]
    objects = [n for n in names[OBJECTS] if key[n] in keys]
    return {STATE: state, OBJECTS: objects}


def arrays(dataset, chosen):
    """Feature -> (N, D) float32, and the first and last frame (N,) of the episode of each."""
    table = dataset.hf_dataset.with_format("numpy")
    found = {ACTION: np.float32(np.stack(table[ACTION][:]))}
    for feature, names in chosen.items():
        places = [dataset.features[feature]["names"].index(name) for name in names]
        found[feature] = np.float32(np.stack(table[feature][:])[:, places])
    episode = np.asarray(table["episode_index"][:])
    _, begin, count = np.unique(episode, return_index=True, return_counts=True)
    first, last = np.repeat(begin, count), np.repeat(begin + count - 1, count)
    return {k: torch.from_numpy(x) for k, x in found.items()}, first, last


def statistics(rows):
    """Feature -> LeRobot's statistics; constant numbers are given a range."""
    found = {}
    for feature, x in rows.items():
        spread = x.std(0).clamp(min=SPREAD_FLOOR)
        low, high = x.min(0).values, x.max(0).values
        narrow = (high - low) < 2 * SPREAD_FLOOR
        low, high = low - narrow * SPREAD_FLOOR, high + narrow * SPREAD_FLOOR
        found[feature] = {"mean": x.mean(0), "std": spread, "min": low, "max": high}
    return found


def batch_of(rows, first, last, at, config):
    """Windows around frames `at` (B,); beyond an episode its first and last frame are repeated."""
    seen = np.array(config.observation_delta_indices or [0])
    ahead = np.array(config.action_delta_indices)
    before = np.clip(at[:, None] + seen, first[at, None], None)  # (B, S)
    after = at[:, None] + ahead  # (B, H)
    padded = (after > last[at, None]) | (after < first[at, None])
    after = np.clip(after, first[at, None], last[at, None])
    one = config.observation_delta_indices is None
    batch = {f: rows[f][before[:, 0] if one else before] for f in (STATE, OBJECTS)}
    return {**batch, ACTION: rows[ACTION][after], "action_is_pad": torch.from_numpy(padded)}


def main(kind, folder, episodes, out_folder, minutes, keys):
    out, sys.stdout = sys.stdout, sys.stderr  # it prints a lot
    torch.set_num_threads(1)
    torch.manual_seed(0)
    chosen = json.loads(Path(episodes).read_text())
    dataset = LeRobotDataset("local/demonstrations", root=folder, episodes=chosen)
    wanted = columns(dataset, keys)
    rows, first, last = arrays(dataset, wanted)
    sizes = {feature: x.shape[1] for feature, x in rows.items()}
    stats = statistics(rows)
    policy, before, _ = make_policy(kind, sizes, stats)
    policy.train()
    optimizer = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    draws = np.random.default_rng(0)
    began, updates, waiting = time.process_time(), 0, sorted(minutes)
    while waiting:
        at = draws.integers(len(first), size=BATCH)
        loss, _ = policy.forward(before(batch_of(rows, first, last, at, policy.config)))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), CLIPPED)
        optimizer.step()
        updates += 1
        if (time.process_time() - began) / 60 >= waiting[0]:
            mark = waiting.pop(0)
            saved = {"kind": kind, "weights": policy.state_dict(), "stats": stats, "sizes": sizes}
            torch.save({**saved, "columns": wanted}, Path(out_folder) / f"policy-{mark:g}.pth")
            said = f"saved {mark:g} min, {updates} updates, loss {loss.item():.3f}"
            print(said, file=out, flush=True)
    number = sum(p.numel() for p in policy.parameters())
    print(f"{number} parameters, {len(first)} frames", file=out, flush=True)


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(*sys.argv[1:5], [float(word) for word in sys.argv[5:split]], sys.argv[split + 1 :])
