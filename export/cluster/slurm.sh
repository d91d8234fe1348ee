#!/bin/bash
# A run on two machines with Slurm, one process for each GPU:
#   sbatch slurm.sh /data/ADVANCE /runs/event
# The folders must be on storage that every machine has under the same path. Other flags
# of `advance fit` follow the two folders.
#SBATCH --job-name=advance-fit
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --kill-on-bad-exit=1
#SBATCH --requeue
set -eu

if [ "$#" -lt 2 ]; then
  echo "Usage: sbatch slurm.sh DATA_DIR WORKDIR [--flag=value ...]" >&2
  exit 2
fi
export ADVANCE_PORT="${ADVANCE_PORT:-12345}"

# In each process: TF_CONFIG from the machines of the job, then the command. Processes on
# one machine have consecutive ports.
# shellcheck disable=SC2016
srun --kill-on-bad-exit=1 bash -c '
  set -eu
  per_node=$((SLURM_NTASKS / SLURM_JOB_NUM_NODES))
  hosts=""
  for name in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    for place in $(seq 0 $((per_node - 1))); do
      hosts="$hosts\"$name:$((ADVANCE_PORT + place))\","
    done
  done
  export TF_CONFIG="{\"cluster\": {\"worker\": [${hosts%,}]}, \"task\": {\"type\": \"worker\", \"index\": $SLURM_PROCID}}"
  data_dir="$1" workdir="$2"
  shift 2
  exec advance fit --data_dir="$data_dir" --workdir="$workdir" --strategy=multi_worker "$@"
' advance "$@"
