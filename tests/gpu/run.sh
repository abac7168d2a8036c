#!/usr/bin/env bash
# Everything that only a machine with an NVIDIA GPU can show, in one go: operators and recorded cases in f32 and bf16, memory
# that comes back, and the table of speeds.
#
#   tests/gpu/run.sh                 builds with cargo, then runs
#   tests/gpu/run.sh --pack FOLDER   builds, and puts the programs into FOLDER for a machine without Rust
#   tests/gpu/run.sh --from FOLDER   runs those programs; the repository must lie at the same path as where they were built
#
# Options after these: --sanitize plays the operators under compute-sanitizer, --no-bench leaves the speeds out, --load FOLDER
# writes LongLive's files with noise for weights into a folder (15.8 GB, which stay) and times how they are loaded.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

mode=run folder=target/gpu sanitize=no bench=yes noise=
while [ $# -gt 0 ]; do
  case $1 in
  --pack | --from) mode=${1#--} folder=${2:?"$1 needs a folder"} && shift ;;
  --sanitize) sanitize=yes ;;
  --no-bench) bench=no ;;
  --load) noise=${2:?"--load needs a folder"} && shift ;;
  *) echo "unknown option $1" >&2 && exit 2 ;;
  esac
  shift
done

# Test programs have a hash in their names; cargo says where they are.
program_of() {
  cargo test --locked --release --package "$1" --test "$2" --no-run --message-format json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1
}

if [ "$mode" != from ]; then
  mkdir -p "$folder"
  cargo build --locked --release --package scope || exit 1
  cp target/release/scope "$folder/scope"
  cargo build --locked --release --package scope-pipelines --example noise_models || exit 1
  cp target/release/examples/noise_models "$folder/noise_models"
  while read -r package name; do
    built=$(program_of "$package" "$name")
    [ -x "$built" ] || { echo "$package has no test $name" >&2 && exit 1; }
    cp "$built" "$folder/$package-$name"
  done <<'TESTS'
scope-engine cuda
scope-models golden
scope-models fp8
scope-pipelines golden
scope-pipelines gpu
TESTS
  if [ "$mode" = pack ]; then
    strip "$folder"/* && du -sh "$folder" && exit
  fi
fi

export SCOPE_REQUIRE_GPU=1
failed=0
play() {
  local name=$1
  shift
  echo "=== $name"
  "$@" || { failed=$((failed + 1)) && echo "=== $name FAILED"; }
}

play "operators, f32 and bf16" "$folder/scope-engine-cuda" --test-threads 1 --nocapture
for device in cuda-f32 cuda-bf16; do
  for package in scope-models scope-pipelines; do
    play "recorded cases of $package, $device" env SCOPE_TEST_DEVICE=$device "$folder/$package-golden" --nocapture
  done
done
play "a transformer in 8 bits" "$folder/scope-models-fp8" --nocapture
play "memory comes back" "$folder/scope-pipelines-gpu" --test-threads 1 --nocapture
if [ $sanitize = yes ]; then
  # A test asks for more memory than there is; that the driver refuses is no error.
  play "compute-sanitizer, memcheck" compute-sanitizer --report-api-errors no --error-exitcode 9 "$folder/scope-engine-cuda" --test-threads 1
fi
if [ $bench = yes ]; then
  play "speeds" "$folder/scope" bench --suite --device cuda --chunks 8
fi
if [ -n "$noise" ]; then
  play "files of the published sizes" "$folder/noise_models" "$noise" longlive
  # All of it must be on the disk, or writing goes on beside loading.
  sync
  play "loading them" "$folder/scope" bench --pipeline longlive --models-dir "$noise" --device cuda --size 832x480 --warmup 0 --chunks 1
fi
echo "$failed failed"
[ $failed = 0 ]
