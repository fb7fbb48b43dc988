#!/usr/bin/env bash
# Trivial jobs by tastypod, xargs, GNU parallel and pueue, in turn, so that a noisy machine is noisy for all. Prints a table of medians.
# cli/bench.sh [JOBS] [ROUNDS] [AT_ONCE]; wants GNU parallel (apt-get install parallel), and pueue if it is to be compared.
set -euo pipefail
jobs=${1:-10000} rounds=${2:-3} at_once=${3:-2}
cd "$(dirname "$0")/.."
cargo build -q --release -p tastypod-cli
tastypod=${CARGO_TARGET_DIR:-$PWD/target}/release/tastypod
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
seq "$jobs" >lines

# What is measured is the doing, and for those that cannot be told beforehand, the telling too.
prepare_tastypod() { rm -rf t; "$tastypod" add -q t <lines; }
run_tastypod() { "$tastypod" run -q t -j "$at_once" -- true; }
run_xargs() { xargs -P "$at_once" -n 1 true <lines; }
run_parallel() { rm -f log; parallel -j "$at_once" --joblog log --resume true <lines; }

rivals=(tastypod xargs)
command -v parallel >/dev/null && rivals+=(parallel) || echo "without GNU parallel, which is not here"
if command -v pueued >/dev/null; then
  rivals+=(pueue)
  export XDG_DATA_HOME=$work XDG_RUNTIME_DIR=$work XDG_CONFIG_HOME=$work
  pueued -d >/dev/null && pueue parallel "$at_once" >/dev/null
  # A tenth: it takes a call for each.
  run_pueue() { head -n $((jobs / 10)) lines | while read -r line; do pueue add -- true "$line" >/dev/null; done; pueue wait >/dev/null; }
else
  echo "without pueue, which is not here"
fi

for round in $(seq "$rounds"); do
  for rival in "${rivals[@]}"; do
    if declare -F "prepare_$rival" >/dev/null; then "prepare_$rival"; fi
    start=$(date +%s%N)
    "run_$rival"
    taken=$(($(date +%s%N) - start))
    [ "$rival" != pueue ] || taken=$((taken * 10))
    echo "$rival $taken" >>times
  done
done

echo "$jobs jobs, $at_once at once, median of $rounds rounds"
median() { grep "^$1 " times | cut -d' ' -f2 | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
ours=$(median tastypod)
for rival in "${rivals[@]}"; do
  awk -v name="$rival" -v taken="$(median "$rival")" -v ours="$ours" -v jobs="$jobs" \
    'BEGIN { printf "| %s | %.2f s | %.0f jobs/s | %.2f |\n", name, taken / 1e9, jobs / taken * 1e9, taken / ours }'
done
