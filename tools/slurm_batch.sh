#!/usr/bin/env bash
# The batch script of slurm_train.sh --requeue: runs a job step and requeues the job if the step was
# preempted. Slurm copies this file, so it cannot source files from its own folder.
#
#   sbatch slurm_batch.sh srun [OPTIONS] PYTHON -u train.py [ARGS...]
set -uo pipefail

preempted=75
command=("$@")
if [[ ${SLURM_RESTART_COUNT:-0} != 0 ]]; then
    resumes=0
    for argument in "$@"; do
        [[ $argument == --resume || $argument == --resume=* ]] && resumes=1
    done
    (( resumes )) || command+=(--resume)
fi

step='' signaled=0
forward() {
    signaled=1
    [[ -z $step ]] || kill -USR1 "$step" 2>/dev/null
}
trap forward USR1 TERM

"${command[@]}" &
step=$!
(( signaled )) && forward
while true; do
    signaled=0
    wait "$step"
    status=$?
    (( signaled )) || break  # a signal interrupts wait, not the step
done
if (( status == preempted )); then
    scontrol requeue "$SLURM_JOB_ID" || exit
fi
exit "$status"
