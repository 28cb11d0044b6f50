#!/bin/sh
# Runs once, before all others: generates the password that the Redis nodes and the service share,
# or takes the one in REDIS_PASSWORD. Also opens the folder for markers to the nodes, which do not
# run as root.
set -eu
file=/run/dialogs/redis-password
if [ -n "${REDIS_PASSWORD:-}" ]; then
  printf '%s' "$REDIS_PASSWORD" > "$file.new"
elif [ ! -s "$file" ]; then
  head -c 24 /dev/urandom | base64 | tr '+/' '-_' > "$file.new"
fi
if [ -e "$file.new" ]; then
  chmod 444 "$file.new"
  mv -f "$file.new" "$file"
fi
chmod 1777 /marker
