#!/usr/bin/env bash
# What a GPU has to show, in under nine minutes and without a network; `--rehearse` does the same with
# small shapes on a CPU. Results are written as they come, and a second run continues.
#
#   bash benchmarks/gpu/run.sh [--rehearse] [--out DIR]
#
# (a) pytest -m cuda; (b) seconds of each stage next to its floor and TRL (stages.py); (c) SPRec's rows on
# SmolLM2-135M and MovieLens-100K, one more seed while time is left. Packing for a host without a network
# is `python benchmarks/gpu/pack.py`.
set -uo pipefail
cd "$(dirname "$0")/../.."
rehearse="" out="benchmarks/gpu/results"
while [ $# -gt 0 ]; do
  case "$1" in
    --rehearse) rehearse="--rehearse"; shift ;;
    --out) out="$2"; shift 2 ;;
    *) echo "unknown option $1"; exit 2 ;;
  esac
done
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" BENCH_PATH="$PWD/benchmarks/gpu" PYTHONUNBUFFERED=1
export PYTORCH_ALLOC_CONF="${PYTORCH_ALLOC_CONF:-expandable_segments:True}"
mkdir -p "$out"
board=1 limit=530 seeds="1 2 3 4 5" budget=() model=smollm2-135m:dtype=bfloat16
if [ -n "$rehearse" ]; then
  limit=290 seeds="1" model=tiny budget=(--budget smoke --executor inline)
  export OMP_NUM_THREADS=1
  python benchmarks/gpu/pack.py --out "$out/parts" || exit 1
fi
left() { echo $((limit - SECONDS)); }

echo "== (a) pytest -m cuda"
python -m pytest -q -m cuda tests/test_cuda.py -p no:cacheprovider 2>&1 | tee "$out/cuda.txt" | tail -15
tests=${PIPESTATUS[0]}

echo "== (b) stages, $(left) s left"
timeout "$(left)" python benchmarks/gpu/stages.py $rehearse --out "$out"
stages=$?

for n in $seeds; do
  [ "$(left)" -gt 20 ] || break
  echo "== (c) SPRec's rows, seed $n, $(left) s left"
  timeout "$(left)" python -m bench.cli run --board sprec-ml-100k --model "$model" "${budget[@]}" \
    --seeds "$n" --offline --results "$out/board" --store "$out/store" --name gpu
  board=$?
  [ "$board" = 0 ] || break
done
echo "tests $tests, stages $stages, board $board, $SECONDS s; results in $out"
[ "$board" = 124 ] && board=0  # time was up; the next run continues
exit $((tests || stages || board))
