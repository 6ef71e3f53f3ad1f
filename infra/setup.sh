#!/usr/bin/env bash
# Create .venv from the lock file and install ffmpeg; exit at once if nothing is missing.
#   infra/setup.sh [EXTRA]     EXTRA: cpu (default without a CUDA device) or gpu
set -euo pipefail
cd "$(dirname "$0")/.."
. infra/debian.sh

# fail MESSAGE: end with status 2, after what the installers printed.
fail() {
    [ ! -s "$log" ] || { echo; cat "$log"; } >&2
    echo "waver setup: $*" >&2
    exit 2
}

python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || fail "Python 3.11 is not on PATH: install it (Debian or Ubuntu: apt-get install python3.11 python3.11-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
    fail "Python 3.11 is required, but $python is $("$python" --version 2>&1): install Python 3.11."

ensure_ffmpeg() {
    command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null && return
    install_debian ffmpeg ||
        fail "ffmpeg and ffprobe are not on PATH and could not be installed: install ffmpeg and run again."
}

# An environment without pip was interrupted while it was created: start over.
create_environment() {
    [ -x .venv/bin/pip ] && return
    rm -rf .venv
    quiet "$python" -m venv .venv && return
    rm -rf .venv
    install_debian python3.11-venv && quiet "$python" -m venv .venv && return
    rm -rf .venv
    fail "$python cannot create the environment .venv: install its venv module (Debian or Ubuntu: apt-get install python3.11-venv) and run again."
}

choose_extra() {
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then echo gpu; else echo cpu; fi
}

# pip_setting NAME: what pip's environment and configuration files set, such as a mirror's index.
pip_setting() {
    local section
    for section in :env: install global; do
        sed -n "s/^$section\.$1='\(.*\)'$/\1/p" <<<"$pip_settings" | sed 's/\\n/ /g' | grep . && return
    done
    return 0
}

# set_unless_set NAME VALUE: export a variable, unless it is set or there is no value.
set_unless_set() {
    if [ -z "${!1:-}" ] && [ -n "$2" ]; then export "$1=$2"; fi
}

# uv installs in a quarter of pip's time, but reads no configuration of pip's: pass it on. As with
# pip, the best version of all indexes is taken.
get_uv() {
    local pip_settings
    quiet .venv/bin/pip install -q --disable-pip-version-check uv==0.13.9 ||
        fail "pip could not install uv: see its output above, fix the cause and run again."
    pip_settings=$(.venv/bin/pip config list 2>>"$log" || true)
    set_unless_set UV_DEFAULT_INDEX "$(pip_setting index-url)"
    set_unless_set UV_EXTRA_INDEX_URL "$(pip_setting extra-index-url)"
    set_unless_set UV_FIND_LINKS "$(pip_setting find-links | tr ' ' ',')"
    set_unless_set UV_INSECURE_HOST "$(pip_setting trusted-host)"
    set_unless_set UV_HTTP_TIMEOUT "$(pip_setting default-timeout)"
    set_unless_set SSL_CERT_FILE "$(pip_setting cert)"
    set_unless_set ALL_PROXY "$(pip_setting proxy)"
    set_unless_set UV_INDEX_STRATEGY unsafe-best-match
    export VIRTUAL_ENV=$PWD/.venv UV_NO_PROGRESS=1
}

# A plain installation of torch takes the CUDA build and several GB: where the configured indexes
# have no CPU build, add PyTorch's own CPU index.
cpu_index() {
    case "$(.venv/bin/uv pip compile -q --no-deps --no-header - <<<torch==2.13.0 2>>"$log" || true)" in
    *+cpu*) ;;
    *) echo "--index=https://download.pytorch.org/whl/cpu" ;;
    esac
}

install_packages() {
    step "Installing Python packages, for about a minute"
    # shellcheck disable=SC2086 # no index is no argument
    quiet .venv/bin/uv pip install $1 -c requirements.lock -e ".[$extra,ray,s3,sandbox,dev]" ||
        fail "uv could not install the packages: see its output above, fix the cause and run again."
}

# CUDA builds beside a CPU torch: a small local package repairs torchvision; torchaudio and
# torchcodec, which Waver does not use, raise OSError where vLLM expects an absent package.
repair_cpu_build() {
    local name
    for name in torchaudio torchcodec; do
        quiet .venv/bin/python -c "import $name" || quiet .venv/bin/uv pip uninstall -q "$name" || true
    done
    quiet .venv/bin/python -c 'import torchvision' || quiet .venv/bin/uv pip install -q --no-deps ./infra/torchvision_cpu || true
    quiet .venv/bin/python -c 'import torchvision' ||
        fail "torchvision does not open beside this torch: remove .venv and run again."
}

# Python keeps the bytecode of what it imports: the first run does not wait for it then. Compiling
# all packages would take a minute, and most of their modules are never imported.
compile_imports() {
    step "Compiling what Waver imports"
    quiet .venv/bin/python -c "$(printf 'import %s\n' flows.cli.main prefect.server.api.server faster_whisper vllm \
        vllm.v1.engine.llm_engine transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe peft sklearn.metrics)" || true
}

extra=${1:-$(choose_extra)}
state="$extra $(cat pyproject.toml requirements.lock infra/setup.sh infra/debian.sh | cksum)"
ensure_ffmpeg
if [ "$(cat .venv/waver-installed 2>/dev/null)" = "$state" ]; then exit 0; fi

echo "Setting up .venv ($extra): about 2 minutes and 5 GB of disk"
unset PYTHONDONTWRITEBYTECODE # else `compile_imports` keeps nothing
create_environment
get_uv
index=""
if [ "$extra" = cpu ]; then index=$(cpu_index); fi
install_packages "$index"
if [ "$extra" = cpu ]; then repair_cpu_build; fi
compile_imports
echo "$state" >.venv/waver-installed
step "Ready"
