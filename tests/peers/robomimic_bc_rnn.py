"""Trains robomimic's BC-RNN for two epochs, by its own loader and script. Runs in its interpreter.

    python tests/peers/robomimic_bc_rnn.py FILE OUT KEY ...

Prints the number of demonstrations and transitions that the loader found.
"""

import sys

import h5py
import torch
from robomimic.config import config_factory
from robomimic.scripts.train import train
from robomimic.utils import file_utils, obs_utils
from robomimic.utils.dataset import SequenceDataset


def main(file, out, keys):
    config = config_factory("bc")
    with config.values_unlocked():
        config.train.data = file
        config.train.output_dir = out
        config.train.num_epochs = 2
        config.train.batch_size = 8
        config.train.num_data_workers = 0
        config.train.seq_length = 10
        config.train.cuda = False
        config.train.hdf5_filter_key = "train"
        config.train.hdf5_validation_filter_key = "valid"
        config.experiment.name = "bc_rnn"
        config.experiment.validate = True
        config.experiment.epoch_every_n_steps = 3
        config.experiment.validation_epoch_every_n_steps = 1
        config.experiment.rollout.enabled = False
        config.experiment.save.enabled = False
        config.experiment.logging.log_tb = False
        config.algo.rnn.enabled = True
        config.algo.rnn.hidden_dim = 16
        config.algo.rnn.horizon = 10
        config.algo.gmm.enabled = True
        config.observation.modalities.obs.low_dim = keys
    config.lock()
    about = file_utils.get_env_metadata_from_dataset(file)
    assert {"env_name", "type", "env_kwargs"} <= about.keys(), about
    obs_utils.initialize_obs_utils_with_config(config)
    found = SequenceDataset(
        hdf5_path=file,
        obs_keys=tuple(keys),
        dataset_keys=("actions", "rewards", "dones"),
        load_next_obs=False,
        seq_length=10,
        frame_stack=1,
        pad_seq_length=True,
    )
    with h5py.File(file) as plain:
        assert found.total_num_sequences == plain["data"].attrs["total"]
    item = found[0]
    assert abs(item["actions"]).max() <= 1
    train(config, device=torch.device("cpu"))
    print(f"loaded {found.n_demos} demonstrations, {found.total_num_sequences} transitions")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
