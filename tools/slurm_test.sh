#!/usr/bin/env bash
# Test as a Slurm job.
#
#   [GPUS=8] bash tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [FLAGS OF test.py...]
#
# GPUS (8), GPUS_PER_NODE (8; 0: CPU processes), CPUS_PER_TASK (5), SRUN_ARGS as in mmdet.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if (( $# < 4 )); then
    sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
source "$here/slurm.sh"
partition=$1 job_name=$2 config=$3 checkpoint=$4
shift 4
submit "$partition" "$job_name" "$here/test.py" "$config" "$checkpoint" "$@"
