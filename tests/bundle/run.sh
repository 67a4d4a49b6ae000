#!/bin/sh
# Runs every device test and the benchmarks on this machine's GPU and writes one result file.
#
#   ./run.sh [DEVICE [RESULT]]     DEVICE: cuda (the default) or sim; RESULT: results.txt
#
# Needs a GPU's driver, CUDA's NVRTC and cuBLASLt (in the loader's path or under CUDA_HOME) and POSIX tools; no network, no
# compiler. LIMIT says how many seconds a check may take (900). Exit 0 when every check held, 1 when one failed, 3 when the
# device cannot be had.
set -u
cd "$(dirname "$0")" || exit 3
device=${1:-cuda} result=${2:-results.txt}
home=${CUDA_HOME:-/usr/local/cuda}
export LD_LIBRARY_PATH="$PWD/lib:$home/lib64:$home/lib:$home/targets/x86_64-linux/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export CUDA_HOME="$home" CASTOR_SOURCE="$PWD" CASTOR_TEST_DEVICE="$device"
work=$(mktemp -d) || exit 3
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
data='idx("data")' limit=${LIMIT:-900}

# limited COMMAND...: a command that hangs is ended, with exit code 124.
limited() { timeout -k 10 "$limit" "$@"; }
command -v timeout >/dev/null 2>&1 || limited() { "$@"; }

say() { echo "$*" | tee -a "$result"; }
part() { say "" && say "== $*"; }

# verdict WHAT CODE: counts and tells one check.
verdict() {
    case $2 in
    0) passed=$((passed + 1)) && say "passed: $1" ;;
    124 | 137) failed=$((failed + 1)) && say "FAILED: $1 (no end within $limit s)" ;;
    77) skipped=$((skipped + 1)) && say "skipped: $1" ;;
    *) failed=$((failed + 1)) && say "FAILED: $1 (exit $2)" && tail -n 20 "$work/said" | tee -a "$result" ;;
    esac
}

# check WHAT COMMAND...
check() {
    what=$1
    shift
    "$@" >"$work/said" 2>&1
    verdict "$what" $?
}

# train NAME DEVICE MODEL FLAGS...: a run in $work/NAME
train() {
    name=$1 on=$2 model=$3
    shift 3
    limited bin/castor train "models/$model.net" --device "$on" --data "$data" --quiet --cache "$work/cache-$on" \
        --out "$work/$name" "$@"
}

# Losses of two runs, step by step, within a relative bound.
close_losses() {
    for run in "$1" "$2"; do
        sed -n 's/^{"step":.*"loss":\([^,}]*\).*/\1/p' "$work/$run/log.jsonl" >"$work/$run.losses"
    done
    paste "$work/$1.losses" "$work/$2.losses" | awk -v bound="$3" '
        { far = ($1 - $2) / ($1 == 0 ? 1 : $1); if (far < 0) far = -far; if (!(far <= worst)) worst = far }
        END { print NR " losses, the furthest apart by " worst " of " bound; exit !(NR > 0 && worst <= bound) }'
}

: >"$result"
say "Castor on device $device: $(date -u '+%Y-%m-%d %H:%M') UTC, $(uname -sr), $(nproc) cores"
bin/castor devices 2>&1 | tee -a "$result"
command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi | tee -a "$result"
if ! limited bin/castor profile models/fashion_mlp.net --device "$device" --data "$data" --steps 1 \
    --cache "$work/cache-$device" >"$work/said" 2>&1; then
    tee -a "$result" <"$work/said"
    say "device $device cannot be had"
    exit 3
fi

part "unit tests of the device"
check "every op, type and shape" limited tests/test_kernel_ops 1 cuda
for test in cuda_device cuda_compile sim_first sim_opcodes sim_matrix sim_faults sim_kernels; do
    check "test_$test" limited tests/test_$test
done

part "training, against the simulated GPU from the same weights"
for model in fashion_mlp fashion_cnn fashion_resnet; do
    steps=10 batch=16
    [ $model = fashion_resnet ] && steps=3 batch=4
    for policy in 'f32' 'autocast(f16)' 'autocast(bf16)'; do
        bound=2e-2
        [ "$policy" = f32 ] && bound=1e-4
        id=$model-$(echo "$policy" | tr -d '()')
        check "$model in $policy trains on sim" train "$id-sim" sim $model --policy "$policy" --steps $steps \
            --batch $batch
        check "$model in $policy trains on $device, checked" train "$id" "$device" $model --policy "$policy" \
            --steps $steps --batch $batch --check
        check "$model in $policy: losses agree" close_losses "$id" "$id-sim" $bound
        check "$model in $policy trains again" train "$id-again" "$device" $model --policy "$policy" --steps $steps \
            --batch $batch
        check "$model in $policy: the same weights again" cmp "$work/$id/last.safetensors" \
            "$work/$id-again/last.safetensors"
    done
done

part "an epoch over the data that came along"
check "fashion_mlp" train epoch "$device" fashion_mlp --epochs 1
tail -n 2 "$work/epoch/log.jsonl" | tee -a "$result"

part "benchmarks"
for model in fashion_mlp fashion_cnn fashion_resnet; do
    steps=${STEPS:-50} batch=128
    [ "$device" = sim ] && steps=1 batch=4
    for policy in 'f32' 'autocast(f16)' 'autocast(bf16)'; do
        say "$model, $policy, batch $batch"
        limited bin/castor profile "models/$model.net" --device "$device" --policy "$policy" --steps "$steps" \
            --batch "$batch" --data "$data" --cache "$work/cache-$device" 2>&1 | tee -a "$result"
    done
done

say "" && say "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
