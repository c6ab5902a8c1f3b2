"""robomimic's BC-RNN with its mixture head, at its published sizes. Imported by its interpreter.

Two LSTM layers of 400, sequences of 10, a mixture of 5 Gaussians read off the memory: what its
authors report for low-dimensional observations (`actor_layer_dims` is empty there).
"""

import torch
from robomimic.algo import algo_factory
from robomimic.config import config_factory
from robomimic.utils import obs_utils

SEQUENCE, BATCH, UNITS, LAYERS, MODES = 10, 100, 400, 2, 5


def make_config(keys):
    """The configuration, without what training alone asks for."""
    config = config_factory("bc")
    with config.values_unlocked():
        config.train.seq_length = SEQUENCE
        config.train.batch_size = BATCH
        config.train.cuda = False
        config.algo.actor_layer_dims = ()
        config.algo.rnn.enabled = True
        config.algo.rnn.horizon = SEQUENCE
        config.algo.rnn.hidden_dim = UNITS
        config.algo.rnn.num_layers = LAYERS
        config.algo.gmm.enabled = True
        config.algo.gmm.num_modes = MODES
        config.observation.modalities.obs.low_dim = list(keys)
    config.lock()
    return config


def make_model(shapes, actions):
    """A model for observations key -> shape, and its configuration."""
    config = make_config(shapes)
    obs_utils.initialize_obs_utils_with_config(config)
    model = algo_factory("bc", config, shapes, actions, torch.device("cpu"))
    model.set_train()
    return model, config
