"""The hash of the model of a pipeline; the pipelines themselves are in tests/beam."""

from advance_tf.checksums import file_sha256, path_sha256
from advance_tf.inference.beam_pipelines import Job, job_sha256


def test_a_teacher_is_a_file_or_a_folder(tmp_path):
    folder = tmp_path / "yamnet"
    folder.mkdir()
    file = folder / "saved_model.pb"
    file.write_bytes(b"network")

    def sha256(path):
        return job_sha256(Job(str(path), "data", "out", "soft_labels"))

    assert sha256(file) == file_sha256(file)
    before = sha256(folder)
    assert before == path_sha256(folder)
    (folder / "variables").write_bytes(b"more")
    assert sha256(folder) != before
