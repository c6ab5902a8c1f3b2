"""Trains robomimic's BC-RNN at its own sizes, and saves it after so many minutes of one core.

    python tests/peers/robomimic_train.py FILE FOLDER RATE MINUTES ... -- KEY ...

Its own loader (everything in memory, observations normalized), optimizer and loss. Prints
`MINUTES UPDATES LOSS` for every file `policy-MINUTES.pth`. Runs in its interpreter.
"""

import sys
import time
from pathlib import Path

import torch
from robomimic.utils import obs_utils
from robomimic.utils.dataset import SequenceDataset
from robomimic_model import SEQUENCE, make_config, make_model
from torch.utils.data import DataLoader


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
        hdf5_normalize_obs=True,
        filter_by_attribute="train",
    )
    stats = data.get_obs_normalization_stats()
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
            made = model.process_batch_for_training(batch)
            made = model.postprocess_batch_for_training(made, obs_normalization_stats=None)
            info = model.train_on_batch(made, epoch=0, validate=False)
            updates += 1
            spent = (time.process_time() - began) / 60
            if spent >= waiting[0]:
                mark = waiting.pop(0)
                saved = {"weights": model.serialize(), "stats": stats, "shapes": shapes}
                torch.save({**saved, "actions": actions}, Path(folder) / f"policy-{mark:g}.pth")
                loss = float(info["losses"]["action_loss"])
                print(f"{mark:g} {updates} {loss:.3f}", file=out, flush=True)
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
