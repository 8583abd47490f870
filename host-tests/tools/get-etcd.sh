#!/usr/bin/env bash
# Prints the path of an etcd of version 3.4 or later: from PATH, else Debian's (as root).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

recent() {
    command -v etcd >/dev/null || return 1
    local version
    version=$(etcd --version | sed -n 's/^etcd Version: \([0-9.]*\).*/\1/p')
    [ "$(printf '3.4\n%s\n' "$version" | sort -V | head -n 1)" = 3.4 ]
}

if recent || { "$here/from-debian.sh" etcd-server && recent; }; then
    command -v etcd
else
    echo "there is no etcd 3.4 or later: put one on PATH" >&2
    exit 1
fi
