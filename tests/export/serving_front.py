"""gRPC and REST servers of a SavedModel in this process, in place of TF Serving.

The gRPC services are those of the package tensorflow-serving-api; the REST paths and
JSON follow https://www.tensorflow.org/tfx/serving/api_rest. Both listen on loopback at
free ports.
"""

import base64
import binascii
import contextlib
import http.server
import json
import re
import threading
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.export.served_model import BadRequestError, NotServedError, ServedModel

_MODEL_URL = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(/versions/(?P<version>\d+))?(?P<rest>:\w+|/\w+)?"
)


def model_status(model: ServedModel) -> get_model_status_pb2.GetModelStatusResponse:
    """The loaded version as AVAILABLE."""
    response = get_model_status_pb2.GetModelStatusResponse()
    status = get_model_status_pb2.ModelVersionStatus
    response.model_version_status.add(version=model.version, state=status.AVAILABLE)
    return response


def model_metadata(model: ServedModel):
    """All signatures of the loaded version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = model.name
    response.model_spec.version.value = model.version
    found = get_model_metadata_pb2.SignatureDefMap()
    for key, definition in model.signature_defs.items():
        found.signature_def[key].CopyFrom(definition)
    response.metadata["signature_def"].Pack(found)
    return response


def _version(spec) -> int | None:
    return spec.version.value if spec.HasField("version") else None


class GrpcServicer(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Predict, GetModelMetadata and GetModelStatus; `requests` keeps the requests."""

    def __init__(self, model: ServedModel):
        self._model = model
        self.requests: list[predict_pb2.PredictRequest] = []

    @contextlib.contextmanager
    def _checked(self, spec, context):
        try:
            self._model.check_name(spec.name, _version(spec))
            yield
        except NotServedError as error:
            context.abort(grpc.StatusCode.NOT_FOUND, str(error))
        except BadRequestError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    def Predict(self, request, context):  # noqa: N802
        self.requests.append(request)
        with self._checked(request.model_spec, context):
            inputs = {key: tf.make_ndarray(t) for key, t in request.inputs.items()}
            outputs = self._model.predict(
                request.model_spec.signature_name, inputs, request.output_filter
            )
            response = predict_pb2.PredictResponse(model_spec=request.model_spec)
            response.model_spec.version.value = self._model.version
            for key, value in outputs.items():
                response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        with self._checked(request.model_spec, context):
            if list(request.metadata_field) != ["signature_def"]:
                raise BadRequestError("Metadata field must be signature_def.")
            return model_metadata(self._model)

    def GetModelStatus(self, request, context):  # noqa: N802
        with self._checked(request.model_spec, context):
            return model_status(self._model)


@contextlib.contextmanager
def serve_grpc(model: ServedModel):
    """Yields host:port and the servicer."""
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1)],
    )
    servicer = GrpcServicer(model)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        servicer, server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", servicer
    finally:
        server.stop(None).wait()


def decoded(value):
    """Values of JSON with {"b64": …} as bytes."""
    if isinstance(value, dict):
        if set(value) != {"b64"}:
            raise BadRequestError(f"A tensor must be a list or b64; received {value}.")
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, TypeError) as error:
            raise BadRequestError(f"b64 must be base64: {error}") from error
    return [decoded(item) for item in value] if isinstance(value, list) else value


def _is_named(value) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def read_inputs(body: dict, definition) -> tuple[dict, bool]:
    """Input → values of the body of a request, and whether it is in rows."""
    if ("instances" in body) == ("inputs" in body):
        raise BadRequestError("The body must have either 'instances' or 'inputs'.")
    in_rows = "instances" in body
    values = body["instances" if in_rows else "inputs"]
    if in_rows and (not isinstance(values, list) or not values):
        raise BadRequestError("'instances' must be a list of at least one row.")
    if not _is_named(values[0] if in_rows else values):
        if len(definition.inputs) != 1:
            raise BadRequestError(f"The inputs {sorted(definition.inputs)} need names.")
        return {next(iter(definition.inputs)): decoded(values)}, in_rows
    if not in_rows:
        return {key: decoded(column) for key, column in values.items()}, False
    if any(not _is_named(row) or row.keys() != values[0].keys() for row in values):
        raise BadRequestError("Every instance must have the same inputs.")
    return {key: [decoded(row[key]) for row in values] for key in values[0]}, True


def to_json(name: str, value):
    """An output as JSON; strings as text, or as b64 where the name ends in _bytes."""
    if isinstance(value, list):
        return [to_json(name, item) for item in value]
    if isinstance(value, bytes):
        if name.endswith("_bytes"):
            return {"b64": base64.b64encode(value).decode()}
        return value.decode()
    return value


def write_outputs(outputs: dict[str, np.ndarray], in_rows: bool) -> dict:
    """The body of the response in the format of the request."""
    columns = {key: to_json(key, value.tolist()) for key, value in outputs.items()}
    if len(columns) == 1:
        (column,) = columns.values()
        return {"predictions" if in_rows else "outputs": column}
    if not in_rows:
        return {"outputs": columns}
    if len({len(column) for column in columns.values()}) > 1:
        raise BadRequestError("Tensors must have the same 0-th dimension.")
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


class RestHandler(http.server.BaseHTTPRequestHandler):
    """Serves /v1/models/NAME, …/metadata and …:predict of `model`."""

    protocol_version = "HTTP/1.1"
    model: ServedModel

    def log_message(self, format, *arguments):
        """Writes nothing."""

    def do_GET(self):
        """Status and metadata."""
        self._reply({None: model_status, "/metadata": model_metadata})

    def do_POST(self):
        """Predictions."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._reply({":predict": lambda model: self._predict(model, body)})

    def _predict(self, model, body):
        try:
            values = json.loads(body)
        except ValueError as error:
            raise BadRequestError(f"JSON Parse error: {error}") from error
        signature = values.get("signature_name", "")
        inputs, in_rows = read_inputs(values, model.signature_def(signature))
        return write_outputs(model.predict(signature, inputs), in_rows)

    def _reply(self, replies):
        try:
            status, body = 200, self._body(replies)
        except NotServedError as error:
            status, body = 404, {"error": str(error)}
        except BadRequestError as error:
            status, body = 400, {"error": str(error)}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self, replies) -> dict:
        found = _MODEL_URL.fullmatch(self.path)
        if not found or found["rest"] not in replies:
            raise BadRequestError(f"Malformed request: {self.command} {self.path}")
        version = found["version"] and int(found["version"])
        self.model.check_name(found["name"], version)
        reply = replies[found["rest"]](self.model)
        if isinstance(reply, dict):
            return reply
        return json_format.MessageToDict(
            reply,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )


@contextlib.contextmanager
def serve_rest(model: ServedModel):
    """Yields http://host:port."""
    handler = type("Handler", (RestHandler,), {"model": model})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
