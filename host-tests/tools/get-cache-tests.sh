#!/usr/bin/env bash
# Prints the folder of the public tests of HTTP caches, which the lock file beside them pins, installing them under
# .tools/ first when they are not there. Works offline once installed; two runs at once do no harm.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
pins="$here/../cache-tests"
pin=$(sha256sum "$pins/package-lock.json" | cut -c 1-12)
target="$root/.tools/cache-tests-$pin"
suite="$target/node_modules/http-cache-tests"

if ! command -v node >/dev/null || { [ ! -d "$suite" ] && ! command -v npm >/dev/null; }; then
    if [ "$(id -u)" != 0 ]; then
        echo "error: the tests of HTTP caches need node and npm (Debian's packages nodejs and npm)" >&2
        exit 1
    fi
    { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends nodejs npm; } >&2
fi
if [ ! -d "$suite" ]; then
    mkdir -p "$root/.tools"
    fresh=$(mktemp -d "$root/.tools/.install-XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    mkdir "$fresh/x"
    cp "$pins/package.json" "$pins/package-lock.json" "$pins/.npmrc" "$fresh/x"
    npm ci --prefix "$fresh/x" --no-progress --loglevel error >&2
    # Whoever renames first wins; the loser's copy goes.
    mv -T "$fresh/x" "$target" 2>/dev/null || [ -d "$suite" ]
fi
echo "$suite"
