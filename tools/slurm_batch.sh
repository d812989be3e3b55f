#!/usr/bin/env bash
# The batch script of slurm_train.sh --requeue: runs a job step, and has Slurm queue the job again
# if the step was preempted. Slurm copies this file: it finds nothing beside it.
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
    (( signaled )) || break  # a signal ends the waiting, not the step
done
if (( status == preempted )); then
    scontrol requeue "$SLURM_JOB_ID" || exit
fi
exit "$status"
