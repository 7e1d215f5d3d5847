#!/usr/bin/env bash
# Everything that wants a GPU, in one run of about 20 minutes on one machine; the numbers go to benchmarks/gpu.md.
#
#   bash benchmarks/gpu.sh            # in a clone with its environment active
#
# 1. the tests of training, on the GPU: bf16, torch.compile, checkpointing, resume to the bit, two processes
# 2. tokens/s, MFU and the memory's share of a step at N = 2^20, dim 512, 8 layers, batch 48, 512 tokens
# 3. the largest batch that fits
set -euo pipefail
cd "$(dirname "$0")/.."
python -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "no GPU: torch.cuda.is_available() is False")'
OUT=benchmarks/gpu.md
SHAPE=(--dim 512 --n_layers 8 --max_seq_len 512 --mixed_precision bf16)

failed=0
section() { printf '\n## %s\n\n' "$1" >>"$OUT"; }
# Runs a command, its output as a code block in the table; a failure is written down and returned.
note() {
    local code=0
    printf '```\n$ %s\n' "$*" >>"$OUT"
    "$@" >>"$OUT" 2>&1 || code=$?
    [ "$code" = 0 ] || printf '(exit code %s)\n' "$code" >>"$OUT"
    printf '```\n' >>"$OUT"
    return "$code"
}

{
    printf '# On a GPU\n\n%s, commit %s\n\n' "$(date -u +%FT%TZ)" "$(git describe --always --dirty --exclude='*')"
    printf '```\n'
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
    python -c 'import torch; print("torch", torch.__version__, "CUDA", torch.version.cuda)'
    printf '```\n'
} >"$OUT"

section "Tests of training"
note timeout 600 python -m pytest -q tests/lm/training tests/lm/model tests/lm/memory || failed=1

section "Speed, in one run with the dense baseline and the reference form"
note python benchmarks/model.py "${SHAPE[@]}" --batch_size 48 --json --seconds 300 || failed=1

section "The largest batch that fits: the last one before one that fails"
for batch in 96 192 384 768; do
    note timeout 180 python benchmarks/model.py "${SHAPE[@]}" --batch_size "$batch" --json --seconds 30 || break
done
printf '\nwritten: %s\n' "$OUT"
exit "$failed"
