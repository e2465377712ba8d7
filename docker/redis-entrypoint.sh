#!/bin/bash
# As in the public image: options alone, or a configuration file alone, mean redis-server.
set -euo pipefail

if [[ "${1:-}" == -* || "${1:-}" == *.conf ]]; then
    set -- redis-server "$@"
fi
if [[ "${1:-}" == redis-server && " $* " != *" --protected-mode "* && " $* " != *".conf "* ]]; then
    set -- "$@" --protected-mode no
fi
exec "$@"
