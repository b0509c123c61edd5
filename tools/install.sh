#!/usr/bin/env bash
# Install rtx and everything it needs at the versions of constraints.txt. `make`, CI and docker/Dockerfile all call this.
#
#   tools/install.sh                 a virtual environment in .venv; a second run takes a second
#
# PYTHON=python3.12   the interpreter; otherwise python3 if it is 3.10 to 3.12, else the newest of these that is found
# VENV=DIR|none       where the environment goes; `none` installs into PYTHON itself (conda, a container)
# EXTRAS=all,dev      extras of setup.py
# RTX_OPS=cpu|cuda    kind of mmcv ops to compile; otherwise cuda where there are a GPU and nvcc, or FORCE_CUDA=1
# TORCH_CUDA_ARCH_LIST   GPUs to compile for; otherwise those of this machine, or all of docker/Dockerfile where it has none
# MAX_JOBS=N          compilers at once; otherwise as many as there are cores and memory for
# RTX_MIN_GB=9        free disk space to ask for before starting
# RTX_WHEELS=DIR      where the compiled onedl-mmcv is kept; otherwise ~/.cache/rtx/wheels
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${VENV:-.venv}
EXTRAS=${EXTRAS:-all,dev}
STEPS=7
MIN_GB=${RTX_MIN_GB:-9}
# T4, A100, A10 (and L40), H100, B200, RTX 50 and newer, as in docker/Dockerfile.
ALL_ARCHS="7.5;8.0;8.6;9.0;10.0;12.0+PTX"

die() {
    printf 'install: %s\n' "$*" >&2
    exit 1
}

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# True when the interpreter runs and is one of the supported versions.
in_range() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }

pick_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null || die "PYTHON=$PYTHON: no such program"
        in_range "$PYTHON" || die "PYTHON=$PYTHON is $("$PYTHON" -V 2>&1): need Python 3.10, 3.11 or 3.12"
        return
    fi
    PYTHON=$VENV/bin/python # an environment that stands keeps its version
    if [ -x "$PYTHON" ] && in_range "$PYTHON"; then return; fi
    for PYTHON in python3 python3.12 python3.11 python3.10; do
        if command -v "$PYTHON" >/dev/null && in_range "$PYTHON"; then return; fi
    done
    die "found no Python 3.10, 3.11 or 3.12 (python3 is $(python3 -V 2>&1 || true)); install one or name it: PYTHON=/path/to/python3.12 make install"
}

# step N TITLE TYPICAL_SECONDS COMMAND...: runs with its output in the log; says where it stands while it runs.
step() {
    local n=$1 title=$2 typical=$3 begun=$SECONDS pid now status=0 last=0
    shift 3
    printf '[%d/%d] %s (typically %s) ...\n' "$n" "$STEPS" "$title" "$(clock "$typical")"
    printf '\n== %s: %s\n' "$(date -u +%FT%TZ)" "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 &
    pid=$!
    # shellcheck disable=SC2064  # the process of this step, not of a later one
    trap "kill $pid 2>/dev/null; exit 130" INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        now=$((SECONDS - begun))
        if [ $((now - last)) -ge 20 ]; then
            last=$now
            printf '      %s of about %s%s\n' "$(clock "$now")" "$(clock "$typical")" "$(compiled)"
        fi
    done
    trap - INT TERM
    wait "$pid" || status=$?
    if [ "$status" != 0 ]; then
        printf '%s\n' "---- last lines of $LOG" >&2
        tail -n 25 "$LOG" >&2
        die "step $n ($title) failed after $(clock $((SECONDS - begun))); everything it printed is in $LOG; mend the cause and run the same command again, finished steps are not repeated"
    fi
    printf '      done in %s\n' "$(clock $((SECONDS - begun)))"
}

# How far ninja is, while it compiles in the temporary folder of this run.
compiled() {
    local plan
    plan=$(find "$STATE/tmp" -name build.ninja 2>/dev/null | head -n 1)
    [ -n "$plan" ] || return 0
    printf ', %d of %d files compiled' "$(find "$STATE/tmp" -name '*.o' | wc -l)" "$(grep -c '^build .*\.o:' "$plan")"
}

check_compiler() {
    local cxx=${CXX:-c++} include
    include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    command -v "$cxx" >/dev/null ||
        die "no C++ compiler ($cxx), needed once to compile the mmcv ops; on Debian or Ubuntu: apt-get install build-essential"
    printf '#include <Python.h>\n' | "$cxx" -x c++ -std=c++17 -fsyntax-only -I"$include" - 2>>"$LOG" ||
        die "$cxx does not compile against the Python headers in $include; on Debian or Ubuntu: apt-get install build-essential $("$PYTHON" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')"
}

check_disk() {
    local free
    free=$(($(df -Pk "$STATE" | awk 'NR == 2 {print $4}') / 1024 / 1024))
    [ "$free" -ge "$MIN_GB" ] ||
        die "$free GB free under $STATE, need $MIN_GB (PyTorch with its CUDA libraries takes 5); free some, or put the environment elsewhere: VENV=/other/disk/rtx-venv"
}

choose_ops() {
    OPS=${RTX_OPS:-}
    if [ -z "$OPS" ]; then
        OPS=cpu
        if [ "${FORCE_CUDA:-0}" = 1 ]; then
            OPS=cuda
        elif nvidia-smi -L 2>/dev/null | grep -q GPU; then
            if command -v nvcc >/dev/null || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; then
                OPS=cuda
            else
                echo "install: a GPU is visible but nvcc is not: compiling the mmcv ops for the CPU only, so Mask R-CNN will not run on the GPU; install the CUDA 13.0 toolkit and run again with RTX_OPS=cuda"
            fi
        fi
    fi
    case $OPS in
        cpu | cuda) ;;
        *) die "RTX_OPS=$OPS: must be cpu or cuda" ;;
    esac
}

# GPUs that the ops are compiled for. An environment that stands keeps its list where that serves the GPUs of this machine:
# on a cluster, nodes of several kinds and a login node without any share it.
choose_archs() {
    local gpus before=''
    ARCHS=
    [ "$OPS" = cuda ] || return 0
    ARCHS=${TORCH_CUDA_ARCH_LIST:-native}
    [ "$ARCHS" = native ] || return 0
    gpus=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -Ex '[0-9]+\.[0-9]+' | sort -Vu || true)
    if [ -f "$ARCHS_FILE" ]; then before=$(cat "$ARCHS_FILE"); fi
    if [ -n "$before" ] && serves "$before" "$gpus"; then
        ARCHS=$before
    elif [ -n "$gpus" ]; then
        ARCHS=$(printf '%s' "$gpus" | tr '\n' ';')+PTX
    else
        ARCHS=$ALL_ARCHS
    fi
}

# serves LIST GPUS: code for x.y runs on x.z with z >= y. What +PTX would compile anew at every start does not count.
serves() {
    printf '%s\n' "$2" | awk -v list="$1" '
        BEGIN { n = split(list, archs, "[; ]+") }
        NF { found = 0; split($1, gpu, ".")
            for (i = 1; i <= n; i++) { split(archs[i], a, "[.+]"); if (a[1] == gpu[1] && a[2] + 0 <= gpu[2] + 0) found = 1 }
            if (!found) exit 1 }'
}

pinned() { sed -n "s/^$1==//p" constraints.txt; }

pip_install() { "$PY" -m pip install --disable-pip-version-check --no-input --progress-bar off -c constraints.txt "$@"; }

# Compiles against the torch that is installed, so without an isolated build. Debug symbols would make it 20 times larger.
compile_mmcv() {
    local each=1572864 # kB: a compiler takes up to 1.5 GB, nvcc 3 GB
    if [ "$OPS" = cuda ]; then
        export FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="$ARCHS"
        each=3145728
    else
        export FORCE_CUDA=0 CUDA_VISIBLE_DEVICES=''
    fi
    if [ -z "${MAX_JOBS:-}" ]; then
        MAX_JOBS=$(awk -v cores="$(nproc)" -v each="$each" '/^MemAvailable/ {n = int($2 / each); print n < 1 ? 1 : (n < cores ? n : cores)}' /proc/meminfo)
    fi
    # Without ninja, which PyTorch looks for on PATH, the files are compiled one after the other.
    PATH=$(dirname "$PY"):$PATH MMCV_WITH_OPS=1 MAX_JOBS=$MAX_JOBS CFLAGS=-g0 CXXFLAGS=-g0 TMPDIR=$STATE/tmp "$PY" -m pip wheel \
        --disable-pip-version-check --no-input --progress-bar off --no-cache-dir --no-deps --no-build-isolation \
        --no-binary onedl-mmcv -w "$STATE/tmp/wheel" "onedl-mmcv==$(pinned onedl-mmcv)"
    mkdir -p "$WHEELS"
    mv "$STATE/tmp/wheel"/onedl_mmcv-*.whl "$WHEELS/"
    rm -rf "$STATE/tmp"
}

# pip takes an installed version for the same as a wheel of that version, whatever GPUs that was compiled for.
install_mmcv() {
    pip_install "$(find_wheel)"
    pip_install --force-reinstall --no-deps "$(find_wheel)"
}

# mmseg and imaug ask for OpenCV by both of its names and the two packages share their files. The headless files are
# wanted: they import on a machine without libGL.
settle_opencv() {
    if ! "$PY" -c 'import cv2; print(cv2.getBuildInformation())' 2>/dev/null | grep -Eq 'GUI: +NONE'; then
        pip_install --force-reinstall --no-deps "opencv-python-headless==$(pinned opencv-python-headless)"
    fi
}

check_result() {
    settle_opencv
    "$PY" -m pip check
    case ",$EXTRAS," in
        *,all,* | *,mm,*) "$PY" -c 'import cv2, torchvision, imagecorruptions, mmcv.ops, mmdet.models, mmseg.models, mmpretrain.models, rtx' ;;
        *) "$PY" -c 'import rtx' ;;
    esac
}

pick_python
if [ "$VENV" = none ]; then STATE=$PWD/build/install; else STATE=$VENV; fi
choose_ops
ARCHS_FILE=$STATE/rtx-install.archs
choose_archs
KEY=$({
    cat constraints.txt setup.py tools/install.sh
    "$PYTHON" -VV
    echo "$VENV $EXTRAS $OPS $ARCHS"
} | sha256sum | cut -c1-32)
STAMP=$STATE/rtx-install.stamp
if [ "$(cat "$STAMP" 2>/dev/null)" = "$KEY" ]; then
    echo "install: $STATE is up to date ($("$PYTHON" -V), $OPS ops); delete $STAMP to install again"
    exit 0
fi

BEGUN=$SECONDS
mkdir -p "$STATE"
STATE=$(cd "$STATE" && pwd)
LOG=$STATE/install.log
: >"$LOG"
if command -v flock >/dev/null; then
    exec 9>"$STATE/install.lock"
    flock -n 9 || die "another install is running in $STATE"
fi
rm -rf "$STATE/tmp"
mkdir -p "$STATE/tmp"
echo "install: $("$PYTHON" -V) ($(command -v "$PYTHON")) into $STATE, extras $EXTRAS, mmcv ops for $OPS${ARCHS:+ ($ARCHS)}; log in $LOG"

if [ "$VENV" = none ]; then
    PY=$PYTHON
else
    PY=$STATE/bin/python
    "$PYTHON" -c 'import ensurepip, venv' 2>>"$LOG" ||
        die "$PYTHON cannot make virtual environments; on Debian or Ubuntu: apt-get install $("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if [ -x "$PY" ] && [ "$("$PY" -V 2>&1)" != "$("$PYTHON" -V 2>&1)" ]; then
        die "$STATE was made with $("$PY" -V 2>&1), now $("$PYTHON" -V 2>&1) is asked for; remove it (make clean) or set VENV to another folder"
    fi
fi

ABI=$("$PYTHON" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
WHEELS=${RTX_WHEELS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/rtx/wheels}
mkdir -p "$WHEELS" 2>/dev/null && [ -w "$WHEELS" ] || WHEELS=$STATE/wheels
# Everything that decides whether a compiled wheel fits is in the name of its folder; pip's own cache looks at none of it.
WHEELS=$WHEELS/mmcv$(pinned onedl-mmcv)-torch$(pinned torch)-$ABI-$OPS
if [ "$OPS" = cuda ]; then WHEELS=$WHEELS-$(echo "$ARCHS" | tr -c 'A-Za-z0-9.+\n' _); fi
find_wheel() { find "$WHEELS" -name 'onedl_mmcv-*.whl' 2>/dev/null | head -n 1; }

case ",$EXTRAS," in *,all,* | *,mm,*) MM=1 ;; *) MM=0 ;; esac
if [ "$MM" = 1 ] && [ -z "$(find_wheel)" ]; then check_compiler; fi
if ! { [ -x "$PY" ] || [ "$VENV" = none ]; } || ! "$PY" -c 'import torch' 2>/dev/null; then check_disk; fi

make_venv() { if [ ! -x "$PY" ]; then "$PYTHON" -m venv "$STATE"; fi; }
if [ "$VENV" != none ]; then step 1 "virtual environment" 5 make_venv; fi
step 2 "build tools" 10 pip_install pip setuptools wheel packaging ninja psutil
step 3 "PyTorch $(pinned torch) with its CUDA libraries, a 2.5 GB download" 180 pip_install torch torchvision
if [ "$MM" = 1 ]; then
    if [ -z "$(find_wheel)" ]; then
        step 4 "compile onedl-mmcv $(pinned onedl-mmcv) for $OPS, once; then kept in $WHEELS" "$([ "$OPS" = cuda ] && echo 2400 || echo 600)" compile_mmcv
    fi
    step 5 "onedl-mmcv and what it needs" 15 install_mmcv
fi
step 6 "OpenMMLab, tools and rtx itself" 60 pip_install --no-build-isolation -e ".[$EXTRAS]"
rm -rf "$STATE/tmp"
step 7 "check that everything imports" 20 check_result
echo "$ARCHS" >"$ARCHS_FILE"
echo "$KEY" >"$STAMP"
echo "install: finished in $(clock $((SECONDS - BEGUN)))"
