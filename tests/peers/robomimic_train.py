"""Trains robomimic's BC-RNN at its own sizes, and saves it after so many minutes of one core.

    python tests/peers/robomimic_train.py FILE FOLDER RATE MINUTES ... -- KEY ...

Its own loader (everything in memory), optimizer and loss. Observations are normalized here: its own
option for it refuses sequences in version 0.3. Prints a line for every file `policy-MINUTES.pth`.
Runs in its interpreter.
"""

import sys
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from robomimic.utils import obs_utils
from robomimic.utils.dataset import SequenceDataset
from robomimic_model import SEQUENCE, make_config, make_model
from torch.utils.data import DataLoader

STD_FLOOR = 0.02
"""No observation is divided by less, as in our own policies."""


def statistics(file, keys):
    """Mean and standard deviation of the training demonstrations, of each key (D,) each."""
    with h5py.File(file) as opened:
        names = [name.decode() for name in opened["mask/train"][:]]
        found = {
            key: np.concatenate([opened[f"data/{n}/obs/{key}"][:] for n in names]) for key in keys
        }
    return {key: (x.mean(0), np.maximum(x.std(0), STD_FLOOR)) for key, x in found.items()}


def main(file, folder, rate, minutes, keys):
    out, sys.stdout = sys.stdout, sys.stderr  # it prints a lot
    torch.set_num_threads(1)
    torch.manual_seed(0)
    obs_utils.initialize_obs_utils_with_config(make_config(keys))
    data = SequenceDataset(
        hdf5_path=file,
        obs_keys=tuple(keys),
        dataset_keys=("actions",),
        load_next_obs=False,
        seq_length=SEQUENCE,
        pad_seq_length=True,
        hdf5_cache_mode="all",
        filter_by_attribute="train",
    )
    stats = statistics(file, keys)
    first = data[0]
    shapes = {key: list(first["obs"][key].shape[1:]) for key in keys}
    actions = first["actions"].shape[-1]
    model, config = make_model(shapes, actions)
    for group in model.optimizers["policy"].param_groups:
        group["lr"] = rate
    loader = DataLoader(data, batch_size=config.train.batch_size, shuffle=True, drop_last=True)
    began, updates, waiting = time.process_time(), 0, sorted(minutes)
    while waiting:
        for batch in loader:
            for key, (mean, spread) in stats.items():
                batch["obs"][key] = (batch["obs"][key] - mean) / spread
            made = model.process_batch_for_training(batch)
            info = model.train_on_batch(made, epoch=0, validate=False)
            updates += 1
            spent = (time.process_time() - began) / 60
            if spent >= waiting[0]:
                mark = waiting.pop(0)
                saved = {"weights": model.serialize(), "stats": stats, "shapes": shapes}
                torch.save({**saved, "actions": actions}, Path(folder) / f"policy-{mark:g}.pth")
                loss = float(info["losses"]["action_loss"])
                print(
                    f"saved {mark:g} min, {updates} updates, loss {loss:.3f}", file=out, flush=True
                )
                if not waiting:
                    break


if __name__ == "__main__":
    split = sys.argv.index("--")
    main(
        sys.argv[1],
        sys.argv[2],
        float(sys.argv[3]),
        [float(word) for word in sys.argv[4:split]],
        sys.argv[split + 1 :],
    )
