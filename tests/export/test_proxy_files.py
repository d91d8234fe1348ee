"""The limits of the proxy agree with the server, the client and the model."""

import json
import re

import pytest
import yaml
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

from advance_tf.config import FeatureConfig
from tests.imports import ROOT

KIT = ROOT / "export" / "tf_serving"
# A pair of ADVANCE: a WAV of 10 s, 22,050 Hz, 16 bits, and a JPEG of 512 px.
PAIR_BYTES = 44 + 2 * 220_500 + 300_000
_TOKEN = re.compile(r'#[^\n]*|"[^"]*"|\'[^\']*\'|[{};]|[^\s{};"\'#]+')


def parse(tokens):
    """Directives (words, block or None) until the end of the block."""
    found, words = [], []
    for token in tokens:
        if token == "}":
            break
        if token == ";":
            found.append((words, None))
            words = []
        elif token == "{":
            found.append((words, parse(tokens)))
            words = []
        elif not token.startswith("#"):
            words.append(token.strip("\"'"))
    assert not words, words
    return found


def named(block, name):
    """The arguments and blocks of the directives of a name."""
    return [(words[1:], inner) for words, inner in block if words[0] == name]


def value(block, name):
    """The arguments of the only directive of a name, as text."""
    ((words, _),) = named(block, name)
    return " ".join(words)


@pytest.fixture(scope="module")
def http():
    text = (KIT / "nginx.conf").read_text(encoding="utf-8")
    top = parse(iter(_TOKEN.findall(text)))
    ((_, block),) = named(top, "http")
    return block


@pytest.fixture(scope="module")
def servers(http):
    return {value(block, "server_name"): block for _, block in named(http, "server")}


@pytest.fixture(scope="module")
def compose():
    text = (KIT / "compose.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["services"]["advance"]


def bytes_of(text):
    number, unit = re.fullmatch(r"(\d+)([km])", text).groups()
    return int(number) * {"k": 2**10, "m": 2**20}[unit]


def seconds_of(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_a_full_batch_of_advance_is_accepted(http, servers):
    limit = bytes_of(value(http, "client_max_body_size"))
    # What does not fit the buffer is written to a file, which njs does not read.
    assert bytes_of(value(http, "client_body_buffer_size")) == limit
    batching = (KIT / "batching.config").read_text(encoding="utf-8")
    rows = int(re.search(r"max_batch_size { value: (\d+) }", batching)[1])
    assert rows * PAIR_BYTES * 4 / 3 < limit <= 2 * rows * PAIR_BYTES * 4 / 3
    for server in servers.values():
        limits = dict(words for words, _ in named(server, "limit_conn"))
        assert int(limits["address"]) < int(limits["all"])
        assert int(limits["all"]) * limit <= 2**30


def test_the_proxy_waits_longer_than_the_server(servers, compose):
    flags = dict(flag.lstrip("-").split("=") for flag in compose["command"])
    server_seconds = int(flags["rest_api_timeout_in_ms"]) / 1000
    assert seconds_of(value(servers["rest"], "proxy_read_timeout")) > server_seconds
    assert seconds_of(value(servers["grpc"], "grpc_read_timeout")) > server_seconds


def test_it_listens_on_this_machine_and_connects_to_the_server(http, servers, compose):
    ports = {port.rsplit(":", 1)[1] for port in compose["ports"]}
    for server in servers.values():
        assert value(server, "listen").startswith("127.0.0.1:")
    upstreams = {words[0]: block for words, block in named(http, "upstream")}
    assert {
        value(block, "server").replace("127.0.0.1:", "") for block in upstreams.values()
    } == ports
    text = (KIT / "nginx.conf").read_text(encoding="utf-8")
    targets = set(re.findall(r"_pass (?:http|grpc)://(\w+);", text))
    assert targets == upstreams.keys()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/models/advance:predict", "POST"),
        ("/v1/models/advance/versions/7:predict", "POST"),
        ("/v1/models/advance", "GET"),
        ("/v1/models/advance/versions/7/metadata", "GET"),
        ("/v1/models/advance:classify", None),
        ("/v1/models/a/b:predict", None),
        ("/v1/models/../x", None),
        ("/monitoring/prometheus/metrics", None),
    ],
)
def test_only_the_paths_of_the_client_are_open(servers, path, expected):
    found = None
    for words, block in named(servers["rest"], "location"):
        if words[0] == "~" and re.fullmatch(words[1].strip("^$"), path):
            ((methods, inner),) = named(block, "limit_except")
            assert inner == [(["deny", "all"], None)]
            (found,) = methods
    assert found == expected
    (others,) = (b for words, b in named(servers["rest"], "location") if words == ["/"])
    assert others == [(["return", "404"], None)]


def test_the_open_grpc_methods_exist(servers):
    methods = {
        f"/{service.full_name}/{method.name}"
        for module in (prediction_service_pb2, model_service_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    paths = {words[0] for words, _ in named(servers["grpc"], "location")} - {"/"}
    assert paths < methods
    client = (KIT / "client.py").read_text(encoding="utf-8")
    used = set(re.findall(r"_stub\.(\w+)", client))
    assert used <= {path.rsplit("/", 1)[1] for path in paths}


def test_compressed_bodies_are_refused(http, servers):
    maps = {words[1]: (words[0], block) for words, block in named(http, "map")}
    headers = {"rest": "$http_content_encoding", "grpc": "$http_grpc_encoding"}
    for name, header in headers.items():
        for _, block in named(servers[name], "location"):
            if not any(each[0] in ("js_content", "grpc_pass") for each, _ in block):
                continue
            ((condition, inner),) = named(block, "if")
            source, values = maps[condition[0].strip("()")]
            assert source == header
            assert dict(each for each, _ in values) == {
                "": "0",
                "identity": "0",
                "default": "1",
            }
            assert inner == [(["return", "415"], None)]


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(depth_of, inner))


def test_the_deepest_request_passes():
    text = (KIT / "limits.js").read_text(encoding="utf-8")
    depth, tokens = (
        int(re.search(rf"const {name} = (\d+);", text)[1])
        for name in ("MAX_DEPTH", "MAX_TOKENS")
    )
    size = FeatureConfig().image_size
    row = {"image": [[[0, 0, 0]] * size] * size, "waveform": [0.5]}
    for request in (
        {"signature_name": "features", "instances": [row]},
        {"inputs": {name: [column] for name, column in row.items()}},
        {"instances": [{"image_bytes": {"b64": "AAAA"}}]},
    ):
        assert depth_of(request) < depth < 20
        counted = len(re.findall(r'"[^"]*"|[][{}]', json.dumps(request)))
        assert counted < tokens
