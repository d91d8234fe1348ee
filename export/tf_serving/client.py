"""Requests scenes and events of images and sounds from TF Serving.

    python client.py --rest=http://host:8501 --image=a.jpg --sound=a.wav
    python client.py --grpc=host:8500 --data_dir=folder --json

Files are paired in their order, those of a folder by stem; either may be absent. A pair
that cannot be read is named on stderr, the others are predicted, the exit status is 1.
"""

import argparse
import base64
import importlib.metadata
import itertools
import json
import os
import pathlib
import sys

from client_files import find_pairs

PARSER = argparse.ArgumentParser(description=__doc__.split("\n")[0])
PARSER.error = lambda message: sys.exit(f"error: {message}; --help lists the options")
ADDRESS = PARSER.add_mutually_exclusive_group(required=True)
ADDRESS.add_argument("--rest", help="address, such as http://host:8501")
ADDRESS.add_argument("--grpc", help="address, such as host:8500")
PARSER.add_argument("--model", default="advance", help="its name in models.config")
PARSER.add_argument("--version", type=int, help="default: the newest")
PARSER.add_argument("--image", nargs="+", type=pathlib.Path, default=[])
PARSER.add_argument("--sound", nargs="+", type=pathlib.Path, default=[])
PARSER.add_argument("--data_dir", type=pathlib.Path, help="folder of images and sounds")
PARSER.add_argument("--top", type=int, help="default: that of the export")
PARSER.add_argument("--batch_size", type=int, default=8, help="pairs in a request")
PARSER.add_argument("--timeout_seconds", type=float, default=60.0)
PARSER.add_argument("--json", action="store_true", help="one JSON object a line")


class RestServer:
    """A model behind TF Serving's REST port."""

    def __init__(self, arguments):
        import requests

        self._post, self._timeout = requests.post, arguments.timeout_seconds
        version = "" if arguments.version is None else f"/versions/{arguments.version}"
        path = f"/v1/models/{arguments.model}{version}:predict"
        self._url = arguments.rest.rstrip("/") + path

    def predict(self, signature, rows):
        """The outputs of every row of files, by name."""
        text = base64.b64encode
        instances = [{k: {"b64": text(row[k]).decode()} for k in row} for row in rows]
        body = {"signature_name": signature, "instances": instances}
        reply = self._post(self._url, json=body, timeout=self._timeout).json()
        if not isinstance(reply, dict) or "predictions" not in reply:
            is_error = isinstance(reply, dict) and "error" in reply
            raise ConnectionError(reply["error"] if is_error else f"replied {reply!r}")
        return reply["predictions"]


class GrpcServer:
    """A model behind TF Serving's gRPC port."""

    def __init__(self, arguments):
        # The stubs need only the messages of TensorFlow, which takes seconds to load.
        sys.modules["tensorflow"] = package = type(sys)("tensorflow")
        files = importlib.metadata.distribution("tensorflow")
        package.__path__ = [str(files.locate_file("tensorflow"))]
        import grpc
        from tensorflow_serving.apis import get_model_metadata_pb2 as metadata
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._error, self._arguments = grpc.RpcError, arguments
        self._request = predict_pb2.PredictRequest
        self._found = metadata.SignatureDefMap()
        unlimited = [("grpc.max_receive_message_length", -1)]  # The default is 4 MB.
        channel = grpc.insecure_channel(arguments.grpc, options=unlimited)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        if arguments.top is None:  # The outputs top_… are sufficient.
            request = metadata.GetModelMetadataRequest(metadata_field=["signature_def"])
            reply = self._call(self._stub.GetModelMetadata, request)
            reply.metadata["signature_def"].Unpack(self._found)

    def predict(self, signature, rows):
        """The outputs of every row of files, by name."""
        kept = set(self._found.signature_def[signature].outputs) - {"event_names"}
        request = self._request(output_filter=sorted(kept))
        request.model_spec.signature_name = signature
        for key in rows[0]:
            tensor = request.inputs[key]
            tensor.dtype = 7  # DT_STRING
            tensor.string_val.extend(row[key] for row in rows)
            tensor.tensor_shape.dim.add(size=len(rows))
        outputs = self._call(self._stub.Predict, request).outputs
        columns = {key: values_of(tensor) for key, tensor in outputs.items()}
        return [{key: columns[key][i] for key in columns} for i in range(len(rows))]

    def _call(self, method, request):
        request.model_spec.name = self._arguments.model
        if self._arguments.version is not None:
            request.model_spec.version.value = self._arguments.version
        try:
            return method(request, timeout=self._arguments.timeout_seconds)
        except self._error as error:
            raise ConnectionError(f"{error.code().name} {error.details()}") from error


def values_of(tensor):
    """Text or float32 of a TensorProto, as lists nested by its shape [B] or [B, n]."""
    width = [*(dimension.size for dimension in tensor.tensor_shape.dim), 0][1]
    flat = [text.decode() for text in tensor.string_val] or list(tensor.float_val)
    flat = flat or memoryview(tensor.tensor_content).cast("f").tolist()
    return [flat[i : i + width] for i in range(0, len(flat), width)] if width else flat


def ranking(row, kind, top):
    """Names and probabilities, best first; [] where the model predicts none."""
    prefix = f"top_{kind}" if top is None else kind
    if row["status"] != "ok" or f"{prefix}_probs" not in row:
        return []
    both = zip(row[f"{prefix}_names"], row[f"{prefix}_probs"], strict=True)
    best = sorted(both, key=lambda pair: -pair[1])[:top]
    return [{"name": name, "probability": prob} for name, prob in best]


def show(name, files, row, arguments):
    """Prints the prediction of a pair, or its status on stderr; returns success."""
    kinds = {f"{k}s": ranking(row, k, arguments.top) for k in ("scene", "event")}
    if arguments.json:
        # Exports of versions before 0.2.0 have no such outputs.
        answer = {k: row[k] for k in ("scene", "confidence", "reason") if k in row}
        shown = {"name": name, **files, "status": row["status"], **answer, **kinds}
        print(json.dumps(shown, ensure_ascii=False, default=str), flush=True)
    elif row["status"] == "ok":
        lines = [name]
        if row.get("reason"):
            lines.append(f"  scene: unknown ({row['reason']})")
        for title, best in kinds.items():
            lines += [f"  {title}"] if best else []
            lines += [f"  {100 * b['probability']:7.2f} %  {b['name']}" for b in best]
        print("\n".join(lines), flush=True)
    if row["status"] != "ok":
        print(f"error: {name}: {row['status']}", file=sys.stderr)
    return row["status"] == "ok"


def read(files):
    """The bytes of a pair by input of the signature; or "status" and the error."""
    if "status" in files:
        return files
    try:
        return {f"{kind}_bytes": path.read_bytes() for kind, path in files.items()}
    except OSError as error:
        return {"status": str(error)}


def predictions(server, pairs, batch_size):
    """(name, files, outputs) of every pair; a request has one signature."""
    for kinds, alike in itertools.groupby(pairs, lambda pair: sorted(pair[1])):
        signature = "serving_default" if len(kinds) == 2 else f"{kinds[0]}_only"
        while batch := list(itertools.islice(alike, batch_size)):
            rows = [read(files) for _, files in batch]
            sent = [row for row in rows if "status" not in row]
            try:
                received = iter(server.predict(signature, sent) if sent else [])
            except ConnectionError as error:
                # A model of one modality lacks signatures; other rows have one.
                if f'"{signature}" not found' not in str(error):
                    raise
                received = iter([{"status": str(error)}] * len(sent))
            for (name, files), row in zip(batch, rows, strict=True):
                yield name, files, row if "status" in row else next(received)


def main():
    """Predicts all pairs; returns the exit status."""
    arguments = PARSER.parse_args()
    if arguments.batch_size < 1 or (arguments.top is not None and arguments.top < 1):
        sys.exit("error: --batch_size and --top must be at least 1.")
    try:
        pairs = find_pairs(arguments.image, arguments.sound, arguments.data_dir)
        server = RestServer(arguments) if arguments.rest else GrpcServer(arguments)
        found = predictions(server, pairs, arguments.batch_size)
        return min(1, sum(not show(*row, arguments) for row in found))
    except BrokenPipeError:  # The reader of the output has ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        sys.exit(f"error: {error}: install the requirements in README.md")
    except (OSError, ValueError) as error:
        address = arguments.rest or arguments.grpc
        sys.exit(f"error: {address}: {' '.join(str(error).split())}")


if __name__ == "__main__":
    sys.exit(main())
