"""The client over REST and gRPC returns what the signatures return."""

import base64
import json
import os
import socket
import subprocess
import sys

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from tests.export.served_model import ServedModel
from tests.export.serving_front import serve_grpc, serve_rest, write_outputs
from tests.imports import ROOT

CLIENT = ROOT / "export" / "tf_serving" / "client.py"
# The client runs without this project and the packages of the other protocol.
_BLOCKED = {
    "rest": ("advance_tf", "tensorflow", "tensorflow_serving", "grpc", "numpy"),
    # The stubs are installed with TensorFlow, whose Python code is blocked.
    "grpc": ("advance_tf", "requests", "numpy", "keras", "tensorflow.python"),
}
_RUN = """
import runpy, sys
sys.modules.update(dict.fromkeys(sys.argv.pop(1).split(",")))
sys.argv.pop(0)
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def model(exported):
    return ServedModel("advance", exported)


@pytest.fixture(scope="module")
def rest(model):
    with serve_rest(model) as address:
        yield address


@pytest.fixture(scope="module")
def grpc_server(model):
    with serve_grpc(model) as (address, servicer):
        yield address, servicer


@pytest.fixture
def addresses(rest, grpc_server):
    return {"rest": rest, "grpc": grpc_server[0]}


@pytest.fixture(scope="module")
def direct(exported):
    """The signatures, called without any server."""
    loaded = tf.saved_model.load(str(exported / "1"))

    def call(signature, **inputs):
        outputs = loaded.signatures[signature](**inputs)
        return {key: value.numpy() for key, value in outputs.items()}

    call.loaded = loaded
    return call


@pytest.fixture
def broken(tmp_path):
    """A file with the name of an image that is not one."""
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no image")
    return path


def run_client(protocol, address, *flags):
    """Exit status, lines of standard output and standard error."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", _RUN, ",".join(_BLOCKED[protocol]), str(CLIENT)),
            *(f"--{protocol}={address}", *map(str, flags)),
        ],
        env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines(), done.stderr


def read_pairs(media):
    """Columns of bytes of the three pairs."""
    return {
        f"{kind}_bytes": [(media / f"{i}.{ending}").read_bytes() for i in range(3)]
        for kind, ending in (("image", "jpg"), ("sound", "wav"))
    }


def assert_ranking(shown, names, probs):
    assert [entry["name"] for entry in shown] == [name.decode() for name in names]
    given = [entry["probability"] for entry in shown]
    np.testing.assert_allclose(given, probs, rtol=0, atol=1e-6)


def free_address() -> str:
    """host:port without a server."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_the_client_returns_what_the_signature_returns(
    protocol, addresses, media, direct
):
    flags = (f"--data_dir={media}", "--json", "--batch_size=2")
    status, lines, errors = run_client(protocol, addresses[protocol], *flags)
    assert (status, errors) == (0, "")
    expected = direct("serving_default", **read_pairs(media))
    rows = [json.loads(line) for line in lines]
    assert [row["name"] for row in rows] == ["0", "1", "2"]
    assert rows[1]["image"] == str(media / "1.jpg")
    assert {row["status"] for row in rows} == {"ok"}
    for number, row in enumerate(rows):
        for kind in ("scene", "event"):
            names = expected[f"top_{kind}_names"][number]
            probs = expected[f"top_{kind}_probs"][number]
            assert_ranking(row[f"{kind}s"], names, probs)
    # The predictions differ between files, so that the comparison is meaningful.
    assert rows[0]["scenes"] != rows[1]["scenes"]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_top_exceeds_that_of_the_export(protocol, addresses, media, direct):
    files = (f"--image={media / '2.jpg'}", f"--sound={media / '2.wav'}")
    flags = (*files, "--json", "--top=7")
    status, (line,), errors = run_client(protocol, addresses[protocol], *flags)
    assert (status, errors) == (0, "")
    inputs = {key: values[2:] for key, values in read_pairs(media).items()}
    expected = direct("serving_default", **inputs)
    for kind in ("scene", "event"):
        names, probs = (expected[f"{kind}_{what}"][0] for what in ("names", "probs"))
        order = np.argsort(-probs, kind="stable")[:7]
        assert_ranking(json.loads(line)[f"{kind}s"], names[order], probs[order])


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_bad_row_and_a_missing_file_do_not_affect_the_others(
    protocol, addresses, media, broken, direct
):
    images = (media / "0.jpg", broken, "absent.jpg", media / "1.jpg")
    status, lines, errors = run_client(
        protocol, addresses[protocol], "--json", "--image", *images
    )
    assert status == 1
    first, bad, absent, last = map(json.loads, lines)
    inputs = read_pairs(media)["image_bytes"][:2]
    expected = direct("image_only", image_bytes=inputs)
    for number, row in enumerate((first, last)):
        names, probs = (expected[f"top_scene_{w}"][number] for w in ("names", "probs"))
        assert_ranking(row["scenes"], names, probs)
    (reason,) = direct("image_only", image_bytes=[b"no image"])["status"]
    assert bad["status"] == reason.decode() != "ok"
    assert bad["scenes"] == bad["events"] == absent["scenes"] == []
    named = errors.splitlines()
    assert named[0] == f"error: broken: {reason.decode()}"
    assert named[1].startswith("error: absent: ")
    assert "absent.jpg" in named[1]
    assert len(named) == 2


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_folder_may_lack_files_and_have_the_layout_of_advance(
    protocol, addresses, media, tmp_path, direct
):
    for file in ("vision/lake/0.jpg", "sound/lake/0.wav", "sound/lake/1.wav"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((media / path.name).read_bytes())
    flags = (f"--data_dir={tmp_path}", "--json")
    status, lines, errors = run_client(protocol, addresses[protocol], *flags)
    assert (status, errors) == (0, "")
    rows = [json.loads(line) for line in lines]
    assert [row["name"] for row in rows] == ["lake/0", "lake/1"]
    assert "image" not in rows[1]
    columns = read_pairs(media)
    both = {key: column[:1] for key, column in columns.items()}
    requested = [("serving_default", both)]
    requested += [("sound_only", {"sound_bytes": columns["sound_bytes"][1:2]})]
    for row, (signature, inputs) in zip(rows, requested, strict=True):
        expected = direct(signature, **inputs)
        names, probs = (expected[f"top_scene_{w}"][0] for w in ("names", "probs"))
        assert_ranking(row["scenes"], names, probs)


def test_the_text_has_percentages(rest, media, direct):
    flags = ("--sound", media / "0.wav", media / "1.wav", "--version=1")
    status, lines, _ = run_client("rest", rest, *flags)
    assert status == 0
    sound = read_pairs(media)["sound_bytes"][:1]
    expected = direct("sound_only", sound_bytes=sound)
    name, prob = (expected[f"top_scene_{what}"][0][0] for what in ("names", "probs"))
    assert lines[:3] == ["0", "  scenes", f"  {100 * prob:7.2f} %  {name.decode()}"]
    event = expected["top_event_names"][0][0].decode()
    assert lines[7] == "  events"
    assert lines[8].endswith(f" %  {event}")
    assert lines[13] == "1"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_an_absent_server_is_one_line(protocol, media):
    address = free_address()
    shown = f"http://{address}" if protocol == "rest" else address
    status, lines, errors = run_client(protocol, shown, f"--data_dir={media}")
    assert (status, lines, errors.count("\n")) == (1, [], 1)
    assert errors.startswith(f"error: {shown}: ")


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_wrong_model_is_one_line(protocol, addresses, media):
    flags = (f"--data_dir={media}", "--model=other")
    status, lines, errors = run_client(protocol, addresses[protocol], *flags)
    assert (status, lines, errors.count("\n")) == (1, [], 1)
    assert "Servable not found for request: Latest(other)" in errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Give --data_dir, or --image"),
        (("--image=a.jpg", "--sound", "a.wav", "b.wav"), "as many of both"),
        (("--data_dir=absent",), "must be a folder of images or sounds"),
        (("--image=a.jpg", "--top=0"), "must be at least 1"),
        (("--image=a.jpg", "--version=7"), None),
    ],
)
def test_wrong_flags_are_one_line(rest, media, flags, message):
    if message is None:
        flags, message = (f"--data_dir={media}", "--version=7"), "(advance, 7)"
    status, lines, errors = run_client("rest", rest, *flags)
    assert (status, lines, errors.count("\n")) == (1, [], 1)
    assert message in errors


def test_event_names_are_not_requested_over_grpc(grpc_server, media):
    address, servicer = grpc_server
    servicer.requests.clear()
    run_client("grpc", address, "--image", media / "0.jpg", "--json")
    (request,) = servicer.requests
    assert "event_names" not in request.output_filter
    assert {"status", "top_event_names", "scene_probs"} <= set(request.output_filter)


def test_warmup_requests_run(exported, grpc_server, direct):
    path = exported / "1" / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    assert 0 < len(records) <= 1000
    with grpc.insecure_channel(grpc_server[0]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record)
            assert log.WhichOneof("log_type") == "predict_log"
            request = log.predict_log.request
            outputs = stub.Predict(request, timeout=60).outputs
            arrays = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
            inputs = {key: tf.constant(array) for key, array in arrays.items()}
            signature = request.model_spec.signature_name or "serving_default"
            expected = direct(signature, **inputs)
            assert set(outputs) == set(expected)
            for key in ("scene_probs", "event_probs"):
                if key in expected:
                    given = tf.make_ndarray(outputs[key])
                    np.testing.assert_allclose(given, expected[key], rtol=0, atol=1e-6)
            assert set(expected["status"]) == {b"ok"}


def test_grpc_returns_signatures_state_and_errors(grpc_server, exported):
    with grpc.insecure_channel(grpc_server[0]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            metadata_field=["signature_def"]
        )
        request.model_spec.name = "advance"
        found = get_model_metadata_pb2.SignatureDefMap()
        stub.GetModelMetadata(request).metadata["signature_def"].Unpack(found)
        expected = {"serving_default", "image_only", "sound_only", "features", "embed"}
        assert set(found.signature_def) == expected
        assert set(found.signature_def["sound_only"].inputs) == {"sound_bytes"}

        states = model_service_pb2_grpc.ModelServiceStub(channel)
        wanted = get_model_status_pb2.GetModelStatusRequest(
            model_spec=request.model_spec
        )
        (state,) = states.GetModelStatus(wanted).model_version_status
        assert (state.version, state.state) == (1, state.AVAILABLE)

        wrong = predict_pb2.PredictRequest(output_filter=["absent"])
        wrong.model_spec.name = "advance"
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(wrong)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def post(address, body, name="advance"):
    reply = requests.post(f"{address}/v1/models/{name}:predict", json=body, timeout=60)
    return reply.status_code, reply.json()


def test_rest_rows_and_columns_agree_with_the_signature(rest, media, direct):
    images = read_pairs(media)["image_bytes"]
    encoded = [{"b64": base64.b64encode(image).decode()} for image in images]
    expected = direct("image_only", image_bytes=images)
    bodies = ({"instances": encoded}, {"inputs": {"image_bytes": encoded}})
    (_, rows), (_, columns) = (
        post(rest, {"signature_name": "image_only", **body}) for body in bodies
    )
    for number, row in enumerate(rows["predictions"]):
        probs = expected["scene_probs"][number]
        np.testing.assert_allclose(row["scene_probs"], probs, rtol=0, atol=1e-6)
    assert set(columns["outputs"]) == set(expected)
    given = columns["outputs"]["scene_probs"]
    np.testing.assert_allclose(given, expected["scene_probs"], rtol=0, atol=1e-6)
    names = [[name.decode() for name in row] for row in expected["top_scene_names"]]
    assert columns["outputs"]["top_scene_names"] == names


def test_rest_takes_arrays(rest, direct):
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    waveform = np.linspace(-0.5, 0.5, 16, dtype=np.float32)
    row = {"image": image.tolist(), "waveform": waveform.tolist()}
    status, reply = post(rest, {"signature_name": "features", "instances": [row]})
    assert status == 200
    inputs = {
        "image": tf.constant(image[None]),
        "waveform": tf.constant(waveform[None]),
    }
    expected = direct("features", **inputs)["event_probs"][0]
    (given,) = reply["predictions"]
    np.testing.assert_allclose(given["event_probs"], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "name", "status"),
    [
        ({"instances": [{"b64": "AA=="}]}, "other", 404),
        ({"instances": [{"b64": "AA=="}], "signature_name": "absent"}, "advance", 400),
        ({"instances": [{"image_bytes": {"b64": "AA=="}}]}, "advance", 400),
        ({"instances": [], "inputs": {}}, "advance", 400),
        ({"instances": ["!"], "signature_name": "features"}, "advance", 400),
    ],
)
def test_rest_errors_have_a_status_and_a_reason(rest, body, name, status):
    code, reply = post(rest, body, name)
    assert code == status
    assert list(reply) == ["error"]
    assert reply["error"]


def test_rest_returns_state_and_signatures(rest):
    url = f"{rest}/v1/models/advance"
    (state,) = requests.get(url, timeout=60).json()["model_version_status"]
    assert (state["version"], state["state"]) == ("1", "AVAILABLE")
    metadata = requests.get(f"{url}/metadata", timeout=60).json()["metadata"]
    outputs = metadata["signature_def"]["signature_def"]["serving_default"]["outputs"]
    assert outputs["scene_probs"]["dtype"] == "DT_FLOAT"
    assert requests.get(f"{rest}/v1/models/other", timeout=60).status_code == 404


def test_outputs_named_bytes_are_base64():
    outputs = {"map_bytes": np.array([b"\xff\x00"], object), "n": np.array([1.5])}
    (row,) = write_outputs(outputs, in_rows=True)["predictions"]
    assert row == {"map_bytes": {"b64": "/wA="}, "n": 1.5}
    alone = {"map_bytes": outputs["map_bytes"]}
    assert write_outputs(alone, in_rows=False) == {"outputs": [{"b64": "/wA="}]}
