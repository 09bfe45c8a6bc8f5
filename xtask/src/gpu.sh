#!/usr/bin/env bash
# Tests Kiln on this machine's devices. The output of each program goes to a file of its name in $OUT (or ./out);
# the last line says how many failed.
set -u
cd "$(dirname "$0")"
out=$(realpath -m "${OUT:-out}")
mkdir -p "$out"
export KILN_CACHE_DIR="$out/cache"
python=${KILN_TORCH_PYTHON:-python3}
# NVIDIA's libraries of PyTorch's wheels, where a toolkit has none.
packages=$("$python" -c "import sysconfig; print(sysconfig.get_path('purelib'))" 2>/dev/null)
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$packages"
failed=0

# run NAME COMMAND...: its output to a file, a line here.
run() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$out/$name.txt" 2>&1; then
        echo "ok      $name ($((SECONDS - start)) s)"
    else
        echo "FAILED  $name ($((SECONDS - start)) s): see $out/$name.txt"
        failed=$((failed + 1))
    fi
}

# Whether the examples can compute on a device of this name.
has() {
    ./digits --device "$1" --model mlp --epochs 1 --out "$out/probe" >"$out/probe-$1.txt" 2>&1
}

for backend in cuda opencl; do
    if ! has "$backend"; then
        echo "not run $backend: $(tail -n 1 "$out/probe-$backend.txt")"
        continue
    fi
    run "$backend-suite" "./$backend-suite" --test-threads 4
    if [ "$backend" = opencl ]; then
        run opencl-large ./opencl-large
        run opencl-queue ./opencl-queue
    elif command -v compute-sanitizer >/dev/null; then
        # A tenth of the table: the tools are slow.
        run cuda-memcheck compute-sanitizer --error-exitcode 9 ./cuda-suite --test-threads 1 products
        run cuda-racecheck compute-sanitizer --tool racecheck --error-exitcode 9 \
            ./cuda-suite --test-threads 1 softmax layer_norm
    else
        echo "not run cuda-memcheck: there is no compute-sanitizer"
    fi
    if [ "$backend" = cuda ]; then
        run cuda-libraries ./cuda-libraries
        # What the libraries do, by kernels.
        run cuda-suite-kernels env KILN_CUDA_LIBRARIES=0 ./cuda-suite --test-threads 4 matmul linear conv
    fi
    if [ "$backend" = cuda ] && "$python" -c "import torch; torch.zeros(1).cuda()" 2>/dev/null; then
        run cuda-bench ./xtask bench --vs torch --bundle "$PWD" --device cuda:0 \
            --markdown "$out/bench.md" --json "$out/bench.json"
    elif [ "$backend" = cuda ]; then
        echo "not run cuda-bench: $python has no PyTorch with CUDA"
    fi
    run "$backend-digits" ./digits --device "$backend" --out "$out/$backend-digits"
    # The same to the last digit, from a captured step.
    run "$backend-graph-digits" ./digits --device "$backend" --graph --out "$out/$backend-graph-digits"
    if [ -d fashion-mnist ]; then
        run "$backend-fashion" ./fashion_mnist --device "$backend" --data fashion-mnist \
            --weights "$out/$backend-fashion.safetensors"
    fi
done
run cpu-digits ./digits --device cpu --out "$out/cpu-digits"
grep -h "ratio\|reached\|MISSED" "$out/cuda-bench.txt" 2>/dev/null
grep -H "test accuracy" "$out"/*-digits.txt "$out"/*-fashion.txt 2>/dev/null
echo "$failed failed"
exit "$((failed > 0))"
