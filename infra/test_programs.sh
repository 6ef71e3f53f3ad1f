#!/usr/bin/env bash
# Install the programs that only tests need; exit at once if nothing is missing. Where nothing can
# be installed, name what is missing: the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. infra/debian.sh

has_postgresql() { command -v initdb || compgen -G '/usr/lib/postgresql/*/bin/initdb'; }

missing=()
command -v chromium >/dev/null || missing+=(chromium)   # the Prefect UI in a browser
command -v openssl >/dev/null || missing+=(openssl)     # a certificate for the API over TLS
has_postgresql >/dev/null || missing+=(postgresql)      # a database behind the Prefect server
[ ${#missing[@]} -gt 0 ] || exit 0

# Debian's package starts a database of its own, which no test uses: switch that off meanwhile.
no_database=/etc/postgresql-common/createcluster.d/waver_tests.conf
if [[ " ${missing[*]} " = *" postgresql "* ]] && can_install; then
    as_root mkdir -p "${no_database%/*}"
    as_root tee "$no_database" >/dev/null <<<"create_main_cluster = false"
    trap 'as_root rm -f "$no_database"; rm -f "$log"' EXIT
fi

failed=()
for name in "${missing[@]}"; do install_debian "$name" || failed+=("$name"); done
[ ${#failed[@]} = 0 ] ||
    step "Not installed, and could not be: ${failed[*]}. The tests that need them are skipped."
