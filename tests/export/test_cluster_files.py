"""The files of clusters: fields of the schemas, and the TF_CONFIG that they set."""

import json
import os
import re
import subprocess

import pytest
import yaml

from advance_tf.memory import ENVIRONMENT
from tests.imports import ROOT

KIT = ROOT / "export" / "cluster"
PRINT = '#!/bin/bash\nprintf "%s\\n%s\\n" "$TF_CONFIG" "$*"\n'


@pytest.fixture
def programs(tmp_path):
    """The environment with stand-ins of `advance` and of Slurm's programs."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)

    write("advance", PRINT)
    write("scontrol", "#!/bin/bash\nprintf 'node1\\nnode2\\n'\n")
    # Runs the command of the processes in turn.
    write(
        "srun",
        "#!/bin/bash\nshift\nfor SLURM_PROCID in $(seq 0 $((SLURM_NTASKS - 1))); do\n"
        'export SLURM_PROCID; "$@"\ndone\n',
    )
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def run(command, environment):
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_job_starts_a_worker_in_every_pod(programs):
    text = (KIT / "job.yaml").read_text()
    service, job = yaml.safe_load_all(text)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    name, spec = job["metadata"]["name"], job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"] == 2
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "OnFailure"
    # The names of the pods come from a service without an address of its own.
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["WORKERS"] == str(spec["completions"])
    port = service["spec"]["ports"][0]["port"]
    assert container["ports"][0]["containerPort"] == port
    hosts = [f"{name}-{index}.{pod['subdomain']}:{port}" for index in range(2)]
    for index in range(2):
        given = {**programs, **environment, "JOB_COMPLETION_INDEX": str(index)}
        config, flags = run([*container["command"], *container["args"]], given)
        assert json.loads(config) == {
            "cluster": {"worker": hosts},
            "task": {"type": "worker", "index": index},
        }
        assert "--strategy=multi_worker" in flags.split()


def test_the_slurm_script_starts_a_worker_in_every_task(programs):
    script = KIT / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    options = re.findall(r"^#SBATCH --([a-z-]+)", script.read_text(), re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "kill-on-bad-exit"} <= set(options)
    given = {
        **programs,
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[1-2]",
    }
    lines = run(["bash", script, "a folder", "run", "--epochs=3"], given)
    hosts = [f"node{node}:{12345 + place}" for node in (1, 2) for place in (0, 1)]
    for index, (config, flags) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
        assert json.loads(config) == {
            "cluster": {"worker": hosts},
            "task": {"type": "worker", "index": index},
        }
        assert flags == (
            "fit --data_dir=a folder --workdir=run --strategy=multi_worker --epochs=3"
        )
    assert len(lines) == 8


def test_the_inference_service_names_the_model():
    service = yaml.safe_load((KIT / "inference_service.yaml").read_text())
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    assert service["metadata"]["name"]
    predictor = service["spec"]["predictor"]
    assert 1 <= predictor["minReplicas"] <= predictor["maxReplicas"]
    model = predictor["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["storageUri"].startswith("pvc://")
    assert {entry["name"]: entry["value"] for entry in model["env"]} == ENVIRONMENT
