#!/usr/bin/env bash
# Writes requirements.lock: the exact versions that `pip` resolves today for all CPU extras.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pip install --dry-run --ignore-installed --quiet --report - ".[cpu,ray,s3,sandbox,dev]" |
    .venv/bin/python -c '
import json, sys
rows = (item["metadata"] for item in json.load(sys.stdin)["install"])
pins = sorted(row["name"].lower() + "==" + row["version"].split("+")[0] for row in rows if row["name"] != "waver")
print("# Made by `make lock`: every package of the CPU environment. Do not edit by hand.")
print("\n".join(pins))
' >requirements.lock.new
mv requirements.lock.new requirements.lock
