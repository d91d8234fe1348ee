"""Starts a dispatcher or a worker of a tf.data service; needs only TensorFlow.

    python data_service.py dispatcher --port=5050
    python data_service.py worker --dispatcher=HOST:5050 --host=THIS_HOST --port=5051

A worker reads and decodes pairs for `advance fit --tf_data_service=grpc://HOST:5050`.
The paths of data and cache must be the same on every machine. The connections are not
encrypted: use them in a private network.
"""

import argparse

import tensorflow as tf


def main() -> None:
    """Serves until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=("dispatcher", "worker"))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dispatcher", help="HOST:PORT of the dispatcher")
    parser.add_argument("--host", default="localhost", help="name of this machine")
    given = parser.parse_args()
    service = tf.data.experimental.service
    if given.role == "dispatcher":
        server = service.DispatchServer(service.DispatcherConfig(port=given.port))
    elif not given.dispatcher:
        parser.error("a worker needs --dispatcher=HOST:PORT")
    else:
        server = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=given.dispatcher,
                worker_address=f"{given.host}:{given.port}",
                port=given.port,
            )
        )
    print(f"{given.role} ready on port {given.port}", flush=True)
    server.join()


if __name__ == "__main__":
    main()
