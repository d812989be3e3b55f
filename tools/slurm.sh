# shellcheck shell=bash
# Sourced by slurm_train.sh and slurm_test.sh: runs a tool through srun.
#
#   submit PARTITION JOB_NAME TOOL [ARGS...]
#
# The script is replaced by srun, which forwards signals to all tasks, or with requeue=1 by sbatch,
# for a batch job of slurm_batch.sh that is requeued after preemption.

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$tools/checks.sh"
requeue=0

submit() {
    local partition=$1 job_name=$2 tool=$3
    shift 3
    local gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8} cpus=${CPUS_PER_TASK:-5}
    whole_number GPUS "$gpus" 1 || return
    whole_number GPUS_PER_NODE "$per_node" || return
    whole_number CPUS_PER_TASK "$cpus" 1 || return
    whole_number GRACE_SECONDS "${GRACE_SECONDS:-120}" 1 || return

    local resources=() options=() batch_options=()
    if (( per_node > 0 )); then
        resources=(--gres "gpu:$per_node" --ntasks-per-node "$per_node")
    fi
    # SRUN_ARGS contains several options in one variable.
    read -r -d '' -a options <<<"${SRUN_ARGS:-}" || true
    local job=(-p "$partition" --job-name "$job_name" "${resources[@]}" --ntasks "$gpus"
               --cpus-per-task "$cpus")
    local run=("${options[@]}" "$(interpreter)" -u "$tool" "$@" --launcher slurm)
    if (( ! requeue )); then
        exec srun "${job[@]}" --kill-on-bad-exit=1 "${run[@]}"
    fi
    read -r -d '' -a batch_options <<<"${SBATCH_ARGS:-}" || true
    # Tasks exit with 75 one after another, and the first one must not kill the others.
    exec sbatch "${job[@]}" --requeue --open-mode=append --signal="B:USR1@${GRACE_SECONDS:-120}" \
        "${batch_options[@]}" "$tools/slurm_batch.sh" \
        srun "${job[@]}" --kill-on-bad-exit=0 --wait=60 "${run[@]}"
}
