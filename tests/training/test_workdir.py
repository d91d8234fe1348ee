"""config.json, and what may change when a run goes on."""

import dataclasses
import json

import pytest

from advance_tf.config import Config, DataConfig, TrainingConfig, TransferConfig
from advance_tf.training import setup, workdir
from tests.training import runs


@pytest.fixture
def begun(tmp_path, fabricated_advance):
    """A work directory whose run has begun."""
    config = runs.config(fabricated_advance)
    manifest = runs.manifest(fabricated_advance)
    manifest.save(tmp_path / workdir.MANIFEST)
    workdir.write_config(tmp_path, config, manifest, knowledge_dir="k")
    return tmp_path, config, manifest


def test_config_json_has_versions_and_the_manifests_hash(begun):
    folder, config, manifest = begun
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


def test_a_folder_without_a_run_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="python -m advance_tf.fit"):
        workdir.load_run(tmp_path)


def test_a_run_without_an_epoch_says_what_to_do(begun):
    with pytest.raises(ValueError, match="has not finished an epoch"):
        workdir.load_run(begun[0])


def test_a_manifest_that_was_exchanged_is_refused(begun):
    folder, _, manifest = begun
    dataclasses.replace(manifest, split_seed=1).save(folder / workdir.MANIFEST)
    with pytest.raises(ValueError, match="its hash differs"):
        workdir.load_run(folder)


def test_going_on_may_be_longer_but_not_another_run():
    stored = Config()
    longer = dataclasses.replace(stored, training=TrainingConfig(epochs=500))
    workdir.check_resume(stored, longer)
    other = dataclasses.replace(
        stored,
        training=TrainingConfig(learning_rate=0.5),
        transfer=TransferConfig(alpha=0.2),
    )
    with pytest.raises(ValueError, match=r"--alpha was 0\.1, now 0\.2") as raised:
        workdir.check_resume(stored, other)
    assert "--learning_rate" in str(raised.value)


def test_a_run_goes_on_from_its_folder_alone(begun):
    folder, config, manifest = begun
    prepared = setup.prepare(folder, lambda base: base)
    assert prepared.config == config
    assert prepared.manifest.sha256 == manifest.sha256


def test_a_new_run_makes_its_split_and_finds_its_knowledge(
    tmp_path, fabricated_advance
):
    data = DataConfig(data_dir=str(fabricated_advance))
    prepared = setup.prepare(
        tmp_path / "new", lambda base: dataclasses.replace(base, data=data)
    )
    assert prepared.knowledge_dir == str(tmp_path / "new" / "event_knowledge")
    assert not (tmp_path / "new").exists()
    prepared.write()
    assert (tmp_path / "new" / workdir.MANIFEST).exists()


def test_transfer_none_needs_no_knowledge(tmp_path, fabricated_advance):
    config = runs.config(fabricated_advance)
    assert setup.prepare(tmp_path, lambda base: config).knowledge_dir == ""


def test_another_manifest_than_that_of_the_run_is_refused(begun, tmp_path_factory):
    folder, _, manifest = begun
    other = tmp_path_factory.mktemp("other") / "manifest.csv"
    dataclasses.replace(manifest, split_seed=1).save(other)
    with pytest.raises(ValueError, match="must equal the manifest"):
        setup.prepare(folder, lambda base: base, str(other))


def test_no_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--data_dir must name"):
        setup.prepare(tmp_path, lambda base: base)


def test_a_notice_of_the_data_set_is_kept(tmp_path, fabricated_advance):
    (tmp_path / "data").mkdir()
    for name in ("vision", "sound"):
        (tmp_path / "data" / name).symlink_to(fabricated_advance / name)
    (tmp_path / "data" / "NOTICE.txt").write_text("synthetic data\nmore\n")
    config = runs.config(tmp_path / "data")
    setup.prepare(tmp_path / "run", lambda base: config).write()
    contents = json.loads((tmp_path / "run" / workdir.CONFIG).read_text())
    assert contents["label"] == "synthetic data"
