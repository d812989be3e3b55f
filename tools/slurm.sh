# Sourced by slurm_train.sh and slurm_test.sh: runs a tool through srun.
#
#   submit PARTITION JOB_NAME TOOL [ARGS...]

submit() {
    local partition=$1 job_name=$2 tool=$3
    shift 3
    local gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8} resources=()
    if (( per_node > 0 )); then
        resources=(--gres "gpu:$per_node" --ntasks-per-node "$per_node")
    fi
    # SRUN_ARGS holds several options in one variable: it is split on purpose.
    # shellcheck disable=SC2086
    srun -p "$partition" --job-name "$job_name" "${resources[@]}" --ntasks "$gpus" \
        --cpus-per-task "${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "${PYTHON:-python}" -u "$tool" "$@" --launcher slurm
}
