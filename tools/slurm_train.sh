#!/usr/bin/env bash
# Train as a Slurm job.
#
#   [GPUS=8] bash tools/slurm_train.sh [--requeue] PARTITION JOB_NAME CONFIG WORK_DIR [FLAGS...]
#
# GPUS (8), GPUS_PER_NODE (8; 0: CPU processes), CPUS_PER_TASK (5), SRUN_ARGS as in mmdet.
# --requeue: submit a batch job that saves a checkpoint GRACE_SECONDS (120) before its time limit or
# on preemption, is requeued and resumes. SBATCH_ARGS: options of sbatch; FLAGS: flags of train.py.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/slurm.sh"
if [[ ${1:-} == --requeue ]]; then
    requeue=1
    shift
fi
if (( $# < 4 )); then
    sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
partition=$1 job_name=$2 config=$3 work_dir=$4
shift 4
submit "$partition" "$job_name" "$here/train.py" "$config" --work-dir "$work_dir" "$@"
