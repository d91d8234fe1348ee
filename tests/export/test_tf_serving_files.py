"""The files of TF Serving and Docker have valid fields."""

import re
import subprocess

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from advance_tf.memory import ENVIRONMENT
from tests.export.served_model import ServedModel
from tests.export.serving_front import serve_rest
from tests.imports import ROOT

KIT = ROOT / "export" / "tf_serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
_WRAPPED = ".google.protobuf.Int64Value"


def server_message(name: str):
    """A message of TF Serving that the package of its stubs does not have.

    The fields are those of session_bundle_config.proto and monitoring_config.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="server.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )

    def message(name, *fields):
        declared = file.message_type.add(name=name)
        for number, (field, kind, type_name) in enumerate(fields, 1):
            declared.field.add(
                name=field,
                number=number,
                type=kind,
                type_name=type_name,
                label=_FIELD.LABEL_OPTIONAL,
            )

    wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches")
    wrapped += ("num_batch_threads",)
    message(
        "BatchingParameters", *((n, _FIELD.TYPE_MESSAGE, _WRAPPED) for n in wrapped)
    )
    message(
        "PrometheusConfig",
        ("enable", _FIELD.TYPE_BOOL, None),
        ("path", _FIELD.TYPE_STRING, None),
    )
    prometheus = ".tensorflow.serving.PrometheusConfig"
    message("MonitoringConfig", ("prometheus_config", _FIELD.TYPE_MESSAGE, prometheus))
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
    return message_factory.GetMessageClass(found)()


def parsed(name: str, message):
    return text_format.Parse((KIT / name).read_text(encoding="utf-8"), message)


@pytest.fixture(scope="module")
def service():
    compose = yaml.safe_load((KIT / "compose.yaml").read_text(encoding="utf-8"))
    return compose["services"]["advance"]


def test_models_config_serves_the_newest_version():
    config = parsed("models.config", model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("advance", "/models/advance")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1


def test_batches_hold_what_the_client_sends():
    batching = parsed("batching.config", server_message("BatchingParameters"))
    # A request of more rows than this is refused.
    text = (KIT / "client.py").read_text(encoding="utf-8")
    (sent,) = re.findall(r'"--batch_size", type=int, default=(\d+)', text)
    assert int(sent) <= batching.max_batch_size.value == 16
    assert 0 < batching.batch_timeout_micros.value <= 10_000
    assert batching.max_enqueued_batches.value > batching.num_batch_threads.value > 0


def test_metrics_are_at_the_address_in_the_readme():
    monitoring = parsed("monitoring.config", server_message("MonitoringConfig"))
    assert monitoring.prometheus_config.enable
    readme = (KIT / "README.md").read_text(encoding="utf-8")
    assert f":8501{monitoring.prometheus_config.path}" in readme


def test_compose_mounts_every_file_that_its_flags_name(service):
    assert re.fullmatch(r"tensorflow/serving:\d+\.\d+\.\d+", service["image"])
    assert service["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    mounted = {}
    for volume in service["volumes"]:
        source, target, mode = volume.rsplit(":", 2)
        assert mode == "ro", volume
        mounted[target] = source
    flags = dict(flag.lstrip("-").split("=") for flag in service["command"])
    named = {path for flag, path in flags.items() if flag.endswith("_file")}
    assert len(named) == 3
    for path in named:
        assert (KIT / mounted.pop(path)).is_file(), path
    config = parsed("models.config", model_server_config_pb2.ModelServerConfig())
    assert list(mounted) == [config.model_config_list.config[0].base_path]
    assert flags["enable_batching"] == "true"


def test_the_server_keeps_freed_memory(service):
    assert service["environment"] == ENVIRONMENT


def test_the_image_and_the_stubs_have_one_version(service):
    names = ("requirements.txt", "requirements-dev.txt")
    pinned = "".join((ROOT / name).read_text(encoding="utf-8") for name in names)
    pins = (KIT / "requirements.txt").read_text(encoding="utf-8")
    version = service["image"].split(":")[1]
    assert f"tensorflow-serving-api=={version}\n" in pins
    for pin in re.findall(r"^\S+==\S+$", pins, re.M):
        assert pin in pinned


@pytest.mark.parametrize(("name", "status"), [("advance", 0), ("other", 1)])
def test_the_health_check_requests_the_model(service, exported, name, status):
    assert service["healthcheck"]["test"][0] == "CMD"
    *words, script = service["healthcheck"]["test"][1:]
    with serve_rest(ServedModel(name, exported)) as address:
        script = script.replace(
            "127.0.0.1/8501", address.split("//")[1].replace(":", "/")
        )
        done = subprocess.run([*words, script], timeout=20, check=False)
    assert done.returncode == status


def test_the_client_is_short_and_does_not_import_this_package():
    lines = (KIT / "client.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 220
    files = (KIT / "client_files.py").read_text(encoding="utf-8").splitlines()
    assert not any("advance_tf" in line for line in lines + files)
