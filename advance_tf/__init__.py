"""Audiovisual aerial scene recognition (ECCV 2020, data set ADVANCE).

Names are resolved on first use, so that `import advance_tf` is fast and does not
load TensorFlow.

Example: from data to a prediction, on a few synthetic pairs. For real results replace
the pairs by ADVANCE and leave the small settings out.

    >>> import contextlib, io, pathlib, tempfile
    >>> import advance_tf
    >>> temporary = tempfile.TemporaryDirectory()
    >>> folder = pathlib.Path(temporary.name)
    >>> advance_tf.data.synthetic.write_pairs(folder / "pairs", sites_per_scene=3)
    78
    >>> dataset = advance_tf.data.load_advance(
    ...     folder / "pairs", train_fraction=0.34, validation_fraction=0.34
    ... )
    >>> len(dataset.sites)
    39
    >>> config = advance_tf.Config(
    ...     features=advance_tf.FeatureConfig(image_size=32, clip_seconds=1.0),
    ...     model=advance_tf.ModelConfig(
    ...         image_depth=18, audio_depth=18, image_width=4, audio_width=4
    ...     ),
    ...     transfer=advance_tf.TransferConfig(transfer="none"),
    ...     training=advance_tf.TrainingConfig(epochs=1, batch_size=13),
    ... )
    >>> with contextlib.redirect_stdout(io.StringIO()):
    ...     run = advance_tf.train(config, dataset, folder / "run")
    >>> evaluation = advance_tf.evaluate(run, "test")
    >>> 0 <= evaluation.weighted_f <= 1
    True
    >>> model = advance_tf.load_model(folder / "run")
    >>> pair = run.pairs_of("test")[0]
    >>> answer = model.predict(
    ...     image=folder / "pairs" / pair.image, sound=folder / "pairs" / pair.sound
    ... )
    >>> answer.status, answer.scene in advance_tf.labels.scenes()
    ('ok', True)
    >>> temporary.cleanup()

Source: Hu et al., "Cross-Task Transfer for Geotagged Audiovisual Aerial Scene
Recognition", ECCV 2020, https://arxiv.org/abs/2005.08449
"""

import lazy_loader as _lazy

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
