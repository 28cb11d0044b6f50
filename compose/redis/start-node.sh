#!/bin/sh
# Starts a Redis node, unless it has lost its data. If a node started empty under the name or
# address of a master, its replica would copy the emptiness, and the shard would be lost silently.
# So a node that once belonged to a cluster (check-node.sh leaves a marker, on another volume than
# the data) but has no data any more refuses to start.
#
#   NAME            of this node, for the marker and for messages
#   ANNOUNCE_IP     the address by which the other nodes reach it; default: the one that they see
#   REDIS_PORT      default 6379
#   MAXMEMORY       for the data; default 256mb. The container needs about twice as much, because
#                   rewriting the append-only file may copy all of it, and the backlog comes on top
#   PASSWORD_FILE   default /run/dialogs/redis-password
#   MARKER          default /marker/$NAME
#   REPLACE         the command that gives up lost data, to which the name is added, for the message
set -eu
: "${NAME:?the name of this node}"
marker=${MARKER:-/marker/$NAME}
data=${DATA:-/data}

has_data() {
  [ -s "$data/nodes.conf" ] && [ -s "$data/appendonlydir/appendonly.aof.manifest" ]
}

if [ -e "$marker" ] && ! has_data; then
  cat >&2 <<TEXT
$NAME refuses to start: it belongs to a cluster ($marker says so), but its data in $data is gone.
If it started empty, its replica would copy the emptiness, and a part of the messages would be lost.
  - If the volume is merely not mounted, mount it and start again. Nothing is lost.
  - If the volume is lost for good: ${REPLACE:-form-cluster.sh replace} $NAME
    makes its replica the master if it is not yet, and lets this node start again as a replica.
TEXT
  # Docker restarts it again and again. The pause keeps its log short.
  sleep 5
  exit 1
fi

# The password is in a file in this container's memory, not on a command line that everyone can see.
umask 077
{
  cat "$(dirname "$0")/redis.conf"
  password=$(cat "${PASSWORD_FILE:-/run/dialogs/redis-password}")
  printf 'requirepass "%s"\nmasterauth "%s"\n' "$password" "$password"
  printf 'port %s\nmaxmemory %s\n' "${REDIS_PORT:-6379}" "${MAXMEMORY:-256mb}"
  [ -z "${ANNOUNCE_IP:-}" ] || printf 'cluster-announce-ip %s\n' "$ANNOUNCE_IP"
} > /tmp/redis.conf
# Valkey calls itself by its own name.
exec "$(command -v redis-server || command -v valkey-server)" /tmp/redis.conf
