#!/bin/sh
# Run it before a node is stopped on purpose. If the node is a master, its replica takes over now,
# within milliseconds and with all data, instead of after an election. Does nothing on a replica.
# Fails after 20 s without a successor.
set -eu
REDISCLI_AUTH=$(cat "${PASSWORD_FILE:-/run/dialogs/redis-password}")
export REDISCLI_AUTH
client=$(command -v redis-cli || command -v valkey-cli)
cli() { "$client" -p "${REDIS_PORT:-6379}" "$@"; }

for _ in 1 2 3 4 5 6 7 8 9 10; do
  replication=$(cli info replication | tr -d '\r')
  case $replication in *role:slave*) exit 0 ;; esac
  replica=$(printf '%s\n' "$replication" |
    sed -n 's/^slave[0-9]*:ip=\([^,]*\),port=\([0-9]*\),state=online.*/\1 \2/p' | head -n 1)
  if [ -n "$replica" ]; then
    "$client" -h "${replica% *}" -p "${replica#* }" cluster failover > /dev/null || true
  fi
  sleep 2
done
case $(cli info replication) in *role:slave*) exit 0 ;; esac
echo 'No replica took over' >&2
exit 1
