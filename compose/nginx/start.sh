#!/bin/sh
# Fills in nginx.conf and becomes nginx: start.sh <folder>. The folder is nginx's own, and may be
# empty.
#
#   SERVICES   host:port of each service process, separated by spaces; names are looked up once
#   LISTEN     address or port; default 8080
set -eu
folder=${1:?the folder for nginx to write into}
here=$(dirname "$0")

remembered='' forgotten=''
for service in ${SERVICES:?host:port of each service process}; do
  remembered="$remembered server $service max_fails=1 fail_timeout=5s;"
  remembered="$remembered server $service backup max_fails=0;"
  forgotten="$forgotten server $service max_fails=0;"
done

mkdir -p "$folder"
sed -e "s|@LISTEN@|${LISTEN:-8080}|" -e "s|@SERVERS@|$remembered|" \
  -e "s|@SERVERS_WITHOUT_MEMORY@|$forgotten|" "$here/nginx.conf" > "$folder/nginx.conf"
# As many open files as this process may have, because each stream takes two.
ulimit -n "$(ulimit -H -n)"
exec nginx -e stderr -p "$folder" -c nginx.conf
