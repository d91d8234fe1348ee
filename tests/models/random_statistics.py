"""Models with the batch-normalization statistics of a trained model."""

import keras
import numpy as np

from advance_tf.models.resnet import BatchNorm


def all_layers(model):
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        else:
            yield layer


def randomize_batch_norms(model):
    """Sets scales, shifts and moving statistics to values other than 0 and 1."""
    rng = np.random.default_rng(5)
    for layer in all_layers(model):
        if isinstance(layer, BatchNorm):
            size = layer.gamma.shape[0]
            layer.gamma.assign(rng.uniform(0.4, 1.2, size))
            layer.beta.assign(rng.normal(0, 0.5, size))
            layer.moving_mean.assign(rng.normal(0, 0.5, size))
            layer.moving_variance.assign(rng.uniform(0.5, 2, size))
    return model
