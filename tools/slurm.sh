# Sourced by slurm_train.sh and slurm_test.sh: runs a tool through srun.
#
#   submit PARTITION JOB_NAME TOOL [ARGS...]

source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

submit() {
    local partition=$1 job_name=$2 tool=$3
    shift 3
    local gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8} cpus=${CPUS_PER_TASK:-5}
    whole_number GPUS "$gpus" 1 || return
    whole_number GPUS_PER_NODE "$per_node" || return
    whole_number CPUS_PER_TASK "$cpus" 1 || return

    local resources=() options=()
    if (( per_node > 0 )); then
        resources=(--gres "gpu:$per_node" --ntasks-per-node "$per_node")
    fi
    # SRUN_ARGS holds several options in one variable.
    read -r -d '' -a options <<<"${SRUN_ARGS:-}" || true
    srun -p "$partition" --job-name "$job_name" "${resources[@]}" --ntasks "$gpus" \
        --cpus-per-task "$cpus" --kill-on-bad-exit=1 "${options[@]}" \
        "${PYTHON:-python}" -u "$tool" "$@" --launcher slurm
}
