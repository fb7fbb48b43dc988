#!/usr/bin/env bash
# Runs each fuzz target (or those named) for so many seconds, on stable Rust: fuzz/run.sh SECONDS [TARGET...]
# What it finds is kept in fuzz/artifacts/; an input worth keeping goes to fuzz/regressions/TARGET/.
set -euo pipefail
cd "$(dirname "$0")/.."
# As ../build.rs says.
export TASTYPOD_BUILD_FUZZING=1 TASTYPOD_BUILD_SMALL_SEGMENTS=1
seconds=${1:-30}
shift || true
# Control pages stay mapped until the process exits, by design.
export ASAN_OPTIONS=detect_leaks=0
command -v cargo-fuzz >/dev/null || cargo install --locked -q cargo-fuzz
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(record live_files operations value json shard manifest)
for target in "${targets[@]}"; do
  # The store compares words all the time, for itself and not because of an input: to trace that takes a third of the time.
  traced=()
  [ "$target" = operations ] && traced=(--no-trace-compares)
  mkdir -p "fuzz/corpus/$target"
  regressions=()
  [ -d "fuzz/regressions/$target" ] && regressions=("fuzz/regressions/$target")
  # In turns of half a minute: control pages stay mapped until the process ends, and fill the memory.
  for ((left = seconds; left > 0; left -= 30)); do
    RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer address "${traced[@]}" "$target" "fuzz/corpus/$target" "${regressions[@]}" -- \
      -max_total_time="$((left < 30 ? left : 30))" -timeout=20 -rss_limit_mb=4096 -detect_leaks=0 -print_final_stats=1
  done
done
