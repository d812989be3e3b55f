# shellcheck shell=bash
# Sourced by dist_train.sh and dist_test.sh: starts a tool with several processes.
#
#   launch TOOL PROCESSES [ARGS...]
#
# NNODES, NODE_RANK, MASTER_ADDR and PORT work as in mmdet; PYTHON sets the interpreter (see
# checks.sh for the default).
# On a single node without PORT, torchrun picks a free port, so that two jobs never collide.

# The script is replaced by launch.py, which forwards SIGTERM and SIGUSR1 to all processes and exits
# with 75 after they have saved a checkpoint (train.py; see the README).

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$tools/checks.sh"

launch() {
    local tool=$1 processes=$2
    shift 2
    local nnodes=${NNODES:-1}
    whole_number "the number of processes" "$processes" 1 || return
    whole_number NNODES "$nnodes" 1 || return
    whole_number NODE_RANK "${NODE_RANK:-0}" || return
    whole_number PORT "${PORT:-29500}" 1 || return

    local rendezvous
    if [[ $nnodes == 1 && -z ${PORT:-} ]]; then
        rendezvous=(--standalone)
    else
        rendezvous=(--node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}"
                    --master_port "${PORT:-29500}")
    fi

    # One thread per process suffices with a GPU; on the CPU the processes share the cores.
    if [[ -z ${OMP_NUM_THREADS:-} ]]; then
        local threads=1
        if ! command -v nvidia-smi >/dev/null 2>&1; then
            threads=$(( $(cores) / processes ))
        fi
        export OMP_NUM_THREADS=$(( threads > 0 ? threads : 1 ))
    fi
    export MKL_NUM_THREADS=${MKL_NUM_THREADS:-$OMP_NUM_THREADS}

    local python
    python=$(interpreter)
    exec "$python" "$tools/launch.py" --nnodes "$nnodes" --nproc_per_node "$processes" \
        "${rendezvous[@]}" "$tool" "$@" --launcher pytorch
}
