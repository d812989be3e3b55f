#!/usr/bin/env bash
# Installs smallvit into .venv, trains and tests DWNet on the built-in digits for classification,
# detection and segmentation, prints the metrics, and writes logs, checkpoints and images to
# quickstart/.
#
#   bash tools/quickstart.sh            reuse finished tasks of an earlier run
#   bash tools/quickstart.sh --fresh    train again
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
# Run two tasks in parallel, which is faster for small models than more threads.
source tools/checks.sh
processors=$(cores)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((processors > 1 ? processors / 2 : 1))}
# Background jobs do not receive an interrupt on their own.
trap 'trap - INT TERM; kill 0' INT TERM
# The configs read data/ in the current folder.
scenes=data/digit_scenes

# quietly LOG COMMAND...: write the output to a file and print its end if the command fails.
quietly() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "failed: $* (full output: $log)" >&2
        return 1
    fi
}

# task NAME CONFIG SUFFIX: train, test the last checkpoint, draw predictions and curves.
task() {
    local name=$1 config=$2 suffix=$3 dir=$out/$1 began=$SECONDS checkpoint
    if [ -f "$dir/metrics.json" ]; then
        echo "$name: already finished"
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
    # Last step: its output file marks the task as complete.
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
echo "Predictions and training curves: $out/pictures"
echo "Total time: $SECONDS s. These are results on digits, not on a standard benchmark."
exit "$status"
