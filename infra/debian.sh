# Functions of the set-up scripts, which source this file: Debian packages, and the installers' log.
# Installers write to a log, which is shown in full if one of them fails.
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() { printf '  %s\n' "$*"; }
quiet() { "$@" >>"$log" 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

can_install() { command -v apt-get >/dev/null && quiet as_root true; }

# install_debian NAME: one Debian package, without those that it only recommends.
install_debian() {
    can_install || return 1
    step "Installing the Debian package $1"
    quiet as_root apt-get update -qq &&
        quiet as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"
}
