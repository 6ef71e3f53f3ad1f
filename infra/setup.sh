#!/usr/bin/env bash
# Create .venv from the lock file and install ffmpeg; exit at once if nothing is missing.
#   infra/setup.sh [EXTRA]     EXTRA: cpu (default without a CUDA device) or gpu
# Installers write to a log, which is shown in full if one of them fails.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fail MESSAGE: end with status 2, after what the installers printed.
fail() {
    [ ! -s "$log" ] || { echo; cat "$log"; } >&2
    echo "waver setup: $*" >&2
    exit 2
}

step() { printf '  %s\n' "$*"; }
quiet() { "$@" >>"$log" 2>&1; }

python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || fail "Python 3.11 is not on PATH: install it (Debian or Ubuntu: apt-get install python3.11 python3.11-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
    fail "Python 3.11 is required, but $python is $("$python" --version 2>&1): install Python 3.11."

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_package() {
    command -v apt-get >/dev/null && quiet as_root true || return 1
    step "Installing the Debian package $1"
    quiet as_root apt-get update -qq &&
        quiet as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"
}

ensure_ffmpeg() {
    command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null && return
    install_package ffmpeg ||
        fail "ffmpeg and ffprobe are not on PATH and could not be installed: install ffmpeg and run again."
}

# An environment without pip was interrupted while it was created: start over.
create_environment() {
    [ -x .venv/bin/pip ] && return
    rm -rf .venv
    quiet "$python" -m venv .venv && return
    rm -rf .venv
    install_package python3.11-venv && quiet "$python" -m venv .venv && return
    rm -rf .venv
    fail "$python cannot create the environment .venv: install its venv module (Debian or Ubuntu: apt-get install python3.11-venv) and run again."
}

choose_extra() {
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then echo gpu; else echo cpu; fi
}

# A plain `pip install torch` takes the CUDA build and several GB: where the configured indexes have
# no CPU build, add PyTorch's own CPU index.
cpu_index() {
    local version
    version=$(.venv/bin/pip install --dry-run --no-deps --ignore-installed --quiet --report - torch==2.13.0 2>>"$log" |
        .venv/bin/python -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' 2>>"$log" || true)
    case "$version" in *+cpu) ;; *) echo "--extra-index-url=https://download.pytorch.org/whl/cpu" ;; esac
}

# pip's output goes to the log; the terminal shows a dot for every ten packages.
install_packages() {
    printf '  Installing Python packages '
    # shellcheck disable=SC2086 # no index is no argument
    .venv/bin/pip install --progress-bar off --disable-pip-version-check $1 -c requirements.lock -e ".[$extra,sandbox,dev]" 2>>"$log" |
        tee -a "$log" |
        awk '/^ *Collecting/ && ++packages % 10 == 0 { printf "."; fflush() } /^ *Installing collected/ { printf " %d found, unpacking", packages; fflush() }' ||
        fail "pip could not install the packages: see its output above, fix the cause and run again."
    echo
}

# CUDA builds beside a CPU torch: a small local package repairs torchvision; torchaudio and
# torchcodec, which Waver does not use, raise OSError where vLLM expects an absent package.
repair_cpu_build() {
    local name
    for name in torchaudio torchcodec; do
        quiet .venv/bin/python -c "import $name" || quiet .venv/bin/pip uninstall -q -y "$name" || true
    done
    quiet .venv/bin/python -c 'import torchvision' || quiet .venv/bin/pip install -q --no-deps ./infra/torchvision_cpu || true
    quiet .venv/bin/python -c 'import torchvision' ||
        fail "torchvision does not open beside this torch: remove .venv and run again."
}

extra=${1:-$(choose_extra)}
state="$extra $(cat pyproject.toml requirements.lock infra/setup.sh | cksum)"
ensure_ffmpeg
if [ "$(cat .venv/waver-installed 2>/dev/null)" = "$state" ]; then exit 0; fi

echo "Setting up .venv ($extra): about 5 minutes and 5 GB of disk"
create_environment
index=""
if [ "$extra" = cpu ]; then index=$(cpu_index); fi
install_packages "$index"
if [ "$extra" = cpu ]; then repair_cpu_build; fi
echo "$state" >.venv/waver-installed
step "Ready"
