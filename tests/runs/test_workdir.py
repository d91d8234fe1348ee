"""config.json, preparation of a run, and what may change when it is resumed."""

import dataclasses
import json

import pytest

from advance_tf.config import Config, DataConfig, TrainingConfig, TransferConfig
from advance_tf.config_io import check_resume, replace_fields
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.runs import training, workdir
from advance_tf.runs.split_settings import check_split_settings
from tests.training import factories


@pytest.fixture
def started(tmp_path, fabricated_advance):
    """A work directory with config.json and manifest.csv."""
    config = factories.build_config(fabricated_advance)
    manifest = factories.build_manifest(fabricated_advance)
    manifest.save(tmp_path / workdir.MANIFEST)
    workdir.write_config(tmp_path, config, manifest, knowledge_dir="k")
    return tmp_path, config, manifest


def test_config_json_has_versions_and_the_manifests_hash(started):
    folder, config, manifest = started
    read, contents = workdir.read_config(folder)
    assert read == config
    assert contents["manifest_sha256"] == manifest.sha256
    assert set(contents["versions"]) >= {"tensorflow", "keras", "numpy", "advance_tf"}
    assert contents["knowledge_dir"] == "k"


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"config": {}}'])
def test_a_broken_config_is_named(tmp_path, text):
    (tmp_path / workdir.CONFIG).write_text(text)
    with pytest.raises(ValueError, match=r"config|configuration"):
        workdir.read_config(tmp_path)


def test_a_folder_without_a_run_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(ValueError, match="^workdir must be .*`advance fit`"):
        workdir.load_run(tmp_path)


def test_a_run_without_an_epoch_is_an_error_with_a_remedy(started):
    with pytest.raises(ValueError, match="has not finished an epoch. Resume it"):
        workdir.load_run(started[0])


def test_a_replaced_manifest_is_refused(started):
    folder, _, manifest = started
    dataclasses.replace(manifest, split_seed=1).save(folder / workdir.MANIFEST)
    with pytest.raises(ValueError, match="its hash differs"):
        workdir.load_run(folder)


def test_a_resumed_run_may_have_more_epochs_but_no_other_settings():
    stored = Config()
    longer = dataclasses.replace(stored, training=TrainingConfig(epochs=500))
    check_resume(stored, longer)
    other = dataclasses.replace(
        stored,
        training=TrainingConfig(learning_rate=0.5),
        transfer=TransferConfig(alpha=0.2),
    )
    with pytest.raises(ValueError, match=r"alpha`? was 0\.1, now 0\.2") as raised:
        check_resume(stored, other)
    assert "learning_rate" in str(raised.value)


def test_a_run_is_resumed_from_its_folder_alone(started):
    folder, config, manifest = started
    prepared = training.prepare(folder)
    assert prepared.config == config
    assert prepared.manifest.sha256 == manifest.sha256


def test_knowledge_of_earlier_audio_weights_is_refused(started):
    folder, config, manifest = started
    workdir.write_config(folder, config, manifest, teacher_sha256="0a" * 32)
    (folder / workdir.KNOWLEDGE).mkdir()
    with pytest.raises(ValueError, match="`audio_weights='b.npz'`, and .* with ''"):
        training.prepare(folder, {"audio_weights": "b.npz"})
    assert training.prepare(folder, {"batch_size": 2}).config != config


def test_a_new_run_gets_a_split_and_a_folder_of_knowledge(tmp_path, fabricated_advance):
    data = {"data_dir": str(fabricated_advance)}
    prepared = training.prepare(tmp_path / "new", data)
    assert prepared.knowledge_dir == str(tmp_path / "new" / "event_knowledge")
    assert not (tmp_path / "new").exists()
    prepared.write()
    assert (tmp_path / "new" / workdir.MANIFEST).exists()


def test_transfer_none_needs_no_knowledge(tmp_path, fabricated_advance):
    config = factories.build_config(fabricated_advance)
    assert training.prepare(tmp_path, start=config).knowledge_dir == ""


def test_another_manifest_than_that_of_the_run_is_refused(started, tmp_path_factory):
    folder, _, manifest = started
    other = tmp_path_factory.mktemp("other") / "manifest.csv"
    dataclasses.replace(manifest, split_seed=1).save(other)
    with pytest.raises(ValueError, match="^manifest must equal the manifest"):
        training.prepare(folder, manifest=str(other))


def test_no_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^data_dir must name"):
        training.prepare(tmp_path)


def test_scenes_are_balanced_once_in_a_new_run(tmp_path, fabricated_advance):
    """A run of both that has trained an epoch is still read and resumed."""
    config = factories.build_config(
        fabricated_advance, class_weights="balanced", sampling="shuffled"
    )
    twice = {"sampling": "balanced"}
    with pytest.raises(ValueError, match="received 'balanced' for both. Leave one"):
        training.prepare(tmp_path, twice, start=config)
    started = training.prepare(tmp_path, start=config)
    both = replace_fields(config, twice)
    dataclasses.replace(started, config=both).write()
    with pytest.raises(ValueError, match="received 'balanced' for both"):
        training.prepare(tmp_path)
    (tmp_path / "best.weights.h5").write_bytes(b"of the first epoch")
    assert training.prepare(tmp_path).config == both


def test_the_notice_of_the_data_set_is_stored(tmp_path, fabricated_advance):
    (tmp_path / "data").mkdir()
    for name in ("vision", "sound"):
        (tmp_path / "data" / name).symlink_to(fabricated_advance / name)
    (tmp_path / "data" / "NOTICE.txt").write_text("synthetic data\nmore\n")
    config = factories.build_config(tmp_path / "data")
    training.prepare(tmp_path / "run", start=config).write()
    contents = json.loads((tmp_path / "run" / workdir.CONFIG).read_text())
    assert contents["label"] == "synthetic data"


def test_given_settings_of_another_split_are_refused(tmp_path, fabricated_advance):
    data = {"data_dir": str(fabricated_advance)}
    shares = {"train_fraction": 0.5, "validation_fraction": 0.25}
    split = make_manifest(DataConfig(**data, **shares, split_seed=5))
    split.save(tmp_path / workdir.MANIFEST)
    for given in ({}, {"split_seed": 5}, shares, {"split_protocol": "site"}):
        prepared = training.prepare(tmp_path, {**data, **given})
        assert prepared.manifest.sha256 == split.sha256
    for given, stated in (
        ({"split_seed": 6}, "its `split_seed` is 5, received `split_seed=6`"),
        ({"split_protocol": "pair"}, "`split_protocol` is 'site', received `split_p"),
        ({"split_protocol": "published"}, "is 5, received `split_protocol='publish"),
        (
            {"split_protocol": "published", "split_seed": 5},
            "is 5, received `split_protocol='publish",
        ),
        ({"train_fraction": 0.5}, "other fractions, received `train_fraction=0.5`"),
    ):
        with pytest.raises(ValueError, match=stated):
            training.prepare(tmp_path, {**data, **given})
    published = Manifest(split.pairs, split.splits, "site", split_seed=0)
    with pytest.raises(ValueError, match="is 0, received `split_seed=5`"):
        check_split_settings(
            published,
            DataConfig(**data),
            {"split_protocol": "published", "split_seed": 5},
        )
    # Of a data set with other files, fractions cannot be checked.
    fewer = Manifest(split.pairs[1:], split.splits[1:], "site", split_seed=5)
    check_split_settings(fewer, DataConfig(**data), {"train_fraction": 0.6})
    # The same rule for a manifest in another folder, and for a run that is resumed.
    path = tmp_path / workdir.MANIFEST
    with pytest.raises(ValueError, match="is 5, received `split_seed=6`"):
        training.prepare(tmp_path / "new", {**data, "split_seed": 6}, manifest=path)
    training.prepare(tmp_path, {**data, **shares}).write()
    training.prepare(tmp_path, shares)
    with pytest.raises(ValueError, match="other fractions"):
        training.prepare(tmp_path, {"train_fraction": 0.6, **data})
