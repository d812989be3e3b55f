#!/usr/bin/env bash
# Installs smallvit into .venv, trains and tests DWNet on the embedded digits for classification,
# detection and segmentation, prints the metrics, and leaves logs, checkpoints and pictures in
# quickstart/.
#
#   bash tools/quickstart.sh            keeps what an earlier run finished
#   bash tools/quickstart.sh --fresh    trains again
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/quickstart
if [ "$#" -gt 1 ] || [ "${1:---fresh}" != --fresh ]; then
    echo "usage: bash tools/quickstart.sh [--fresh]" >&2
    exit 2
fi
[ "$#" -eq 0 ] || rm -rf "$out"
mkdir -p "$out/pictures"

python=$(bash "$root/tools/misc/make_env.sh")
cd "$root"
# Two tasks run side by side: small models gain more from that than from threads.
source tools/checks.sh
processors=$(cores)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors > 1 ? processors / 2 : 1))}
# Background jobs do not hear an interrupt by themselves.
trap 'trap - INT TERM; kill 0' INT TERM
# The configs read data/ below the folder in which they are run.
scenes=data/digit_scenes

# quietly LOG COMMAND...: the output goes to a file, whose end is shown if the command fails.
quietly() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "failed: $* (whole output: $log)" >&2
        return 1
    fi
}

# task NAME CONFIG SUFFIX: trains, tests the last checkpoint, draws predictions and curves.
task() {
    local name=$1 config=$2 suffix=$3 dir=$out/$1 began=$SECONDS checkpoint
    if [ -f "$dir/metrics.json" ]; then
        echo "$name: finished by an earlier run"
        return
    fi
    rm -rf "$dir"
    mkdir -p "$dir"
    echo "$name: training with $config (log: $dir/train.log)"
    quietly "$dir/train.log" "$python" tools/train.py "$config" --work-dir "$dir/train"
    checkpoint=$dir/train/$(cat "$dir/train/last_checkpoint")
    echo "$name: testing $checkpoint"
    quietly "$dir/test.log" "$python" tools/test.py "$config" "$checkpoint" \
        --work-dir "$dir/test" --out "$dir/predictions.$suffix"
    quietly "$dir/draw.log" "$python" tools/analysis_tools/draw_predictions.py "$config" \
        "$dir/predictions.$suffix" --overwrite --out "$out/pictures/${name}_predictions.png"
    quietly "$dir/plot.log" "$python" tools/analysis_tools/plot_logs.py "$dir/train" \
        --overwrite --out "$out/pictures/${name}_curves.png"
    # Comes last: its file says that the task is complete.
    "$python" tools/misc/quickstart_table.py "$out" --collect "$name" $((SECONDS - began))
}

if [ ! -d "$scenes" ]; then
    echo "writing scenes of digits to $scenes"
    quietly "$out/digit_scenes.log" "$python" tools/dataset_converters/digit_scenes.py "$scenes"
fi
(
    task classification configs/dwnet/dwnet-mini_digits.py json
    task segmentation configs/dwnet/dwnet-mini_digits-seg.py npz
) &
others=$!
task detection configs/dwnet/dwnet-mini_digits-det.py json &
detection=$!
status=0
wait "$others" || status=$?
wait "$detection" || status=$?
[ "$status" -eq 0 ] || exit "$status"

echo
"$python" tools/misc/quickstart_table.py "$out" || status=$?
echo
echo "Pictures of predictions and training curves: $out/pictures"
echo "Whole run: $SECONDS s. Results on digits, not on a benchmark of the field."
exit "$status"
