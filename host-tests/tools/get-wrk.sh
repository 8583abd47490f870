#!/usr/bin/env bash
# Prints the path of wrk, the load generator of the benchmarks: from PATH, else from the system's packages.
set -euo pipefail

if ! command -v wrk >/dev/null; then
  [ "$(id -u)" = 0 ] || { echo "wrk is missing: install it (Debian's package is called wrk)" >&2; exit 1; }
  { apt-get update -q && apt-get install -yq --no-install-recommends wrk; } >&2
fi
command -v wrk
