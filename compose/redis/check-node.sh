#!/bin/sh
# The health check of a Redis node. redis-cli exits 0 even on errors such as "LOADING" or "NOAUTH",
# so the answer itself is checked. Costs some milliseconds of processor time.
#
#   check-node.sh           it answers PONG
#   check-node.sh synced    and if it is a replica, it has the copy of its master
#   check-node.sh alive     it answers anything at all, for example that it is loading its data
#
# It also leaves the marker by which start-node.sh recognizes a node that has lost its data, as soon
# as the node belongs to a cluster. Where nodes come back under other addresses (Kubernetes), it
# introduces this node to its PEERS (host names) again if it has lost contact with one: Redis
# remembers addresses, not names.
set -eu
REDISCLI_AUTH=$(cat "${PASSWORD_FILE:-/run/dialogs/redis-password}")
export REDISCLI_AUTH
client=$(command -v redis-cli || command -v valkey-cli)
port=${REDIS_PORT:-6379}
cli() { "$client" -p "$port" "$@"; }

if [ "${1:-}" = alive ]; then
  cli ping > /dev/null
  exit
fi
[ "$(cli ping)" = PONG ] || exit 1

marker=${MARKER:-/marker/$NAME}
nodes=$(cli cluster nodes)
if [ ! -e "$marker" ] && [ "$(printf '%s\n' "$nodes" | grep -c .)" -gt 1 ]; then : > "$marker"; fi

if [ -n "${PEERS:-}" ] &&
  printf '%s\n' "$nodes" | grep -v myself | grep -Eq 'fail|noaddr|disconnected'
then
  for peer in $PEERS; do
    address=$(getent hosts "$peer" | cut -d' ' -f1)
    [ -z "$address" ] || cli cluster meet "$address" 6379 > /dev/null
  done
fi

[ "${1:-}" = synced ] || exit 0
case $(cli info replication) in
  *role:slave*master_link_status:up*) ;;
  *role:slave*) exit 1 ;;
esac
