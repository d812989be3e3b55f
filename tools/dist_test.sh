#!/usr/bin/env bash
# Test with several processes, one per GPU; without GPUs, on the CPU with gloo.
#
#   bash tools/dist_test.sh CONFIG CHECKPOINT PROCESSES [FLAGS OF test.py...]
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=host PORT=29500 bash tools/dist_test.sh CONFIG CHECKPOINT 8
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if (( $# < 3 )); then
    sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
source "$here/launch.sh"
config=$1 checkpoint=$2 processes=$3
shift 3
launch "$here/test.py" "$processes" "$config" "$checkpoint" "$@"
