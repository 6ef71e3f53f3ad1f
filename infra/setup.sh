#!/usr/bin/env bash
# Makes .venv from the lock file and sees to ffmpeg. Does nothing when all is there.
#   infra/setup.sh [EXTRA]     EXTRA: cpu (default without a CUDA device) or gpu
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "waver set-up: $*" >&2; exit 2; }

python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || fail "Python 3.11 is not on PATH: install it (on Debian or Ubuntu: apt-get install python3.11 python3.11-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
    fail "Python 3.11 is needed, but $python is $("$python" --version 2>&1): install Python 3.11."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_package() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null || return 1
    echo "Installing $*"
    as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

ensure_ffmpeg() {
    command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null && return
    install_package ffmpeg ||
        fail "ffmpeg and ffprobe are not on PATH and cannot be installed without root: install ffmpeg and run again."
}

# A half-made environment has no pip: it is made anew.
make_environment() {
    [ -x .venv/bin/pip ] && return
    rm -rf .venv
    "$python" -m venv .venv 2>/dev/null && return
    rm -rf .venv
    install_package python3.11-venv && "$python" -m venv .venv && return
    rm -rf .venv
    fail "the environment .venv could not be made with $python: install its venv module (on Debian or Ubuntu: apt-get install python3.11-venv) and run again."
}

choose_extra() {
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then echo gpu; else echo cpu; fi
}

# A plain `pip install torch` takes the CUDA build and several GB: where no CPU build is found by
# the configured indexes, PyTorch's own CPU index is added.
cpu_index() {
    local found
    found=$(.venv/bin/pip install --dry-run --no-deps --ignore-installed --quiet --report - torch==2.13.0 2>/dev/null |
        .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' || true)
    case "$found" in *+cpu) ;; *) echo "--extra-index-url=https://download.pytorch.org/whl/cpu" ;; esac
}

# CUDA builds beside a CPU torch: torchvision is cured by a small local package; torchaudio and
# torchcodec, which nothing here uses, raise OSError where vLLM expects them absent.
mend_cpu_build() {
    local name
    for name in torchaudio torchcodec; do
        .venv/bin/python -c "import $name" 2>/dev/null || .venv/bin/pip uninstall -q -y "$name" 2>/dev/null || true
    done
    .venv/bin/python -c 'import torchvision' 2>/dev/null || .venv/bin/pip install -q --no-deps ./infra/torchvision_cpu
    .venv/bin/python -c 'import torchvision'
}

extra=${1:-$(choose_extra)}
wanted="$extra $(cat pyproject.toml requirements.lock infra/setup.sh | cksum)"
ensure_ffmpeg
if [ "$(cat .venv/waver-installed 2>/dev/null)" = "$wanted" ]; then exit 0; fi

echo "Setting up .venv ($extra): a few minutes, about 5 GB"
make_environment
index=""
constraints=requirements.lock
if [ "$extra" = cpu ]; then index=$(cpu_index); fi
# shellcheck disable=SC2086 # no index is no argument
.venv/bin/pip install --progress-bar off --disable-pip-version-check $index -c "$constraints" -e ".[$extra,sandbox,dev]" |
    awk '/^Collecting/ { printf "."; fflush() } /^Installing collected/ { print "\nInstalling"; fflush() }' ||
    fail "the packages could not be installed: pip says why above; see to that and run again."
if [ "$extra" = cpu ]; then mend_cpu_build; fi
echo "$wanted" >.venv/waver-installed
