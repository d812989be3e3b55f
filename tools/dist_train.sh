#!/usr/bin/env bash
# Train with several processes, one per GPU; without GPUs, on the CPU with gloo.
#
#   bash tools/dist_train.sh CONFIG PROCESSES [FLAGS OF train.py...]
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host PORT=29500 bash tools/dist_train.sh CONFIG 8
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if (( $# < 2 )); then
    sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
source "$here/launch.sh"
config=$1 processes=$2
shift 2
launch "$here/train.py" "$processes" "$config" "$@"
