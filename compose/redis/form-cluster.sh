#!/bin/sh
# Forms one cluster of the nodes, or checks that the existing cluster is complete; then it ends. It
# asks every node before it does anything, and never forms a cluster if one exists.
#
#   form-cluster.sh               forms or checks; an empty node replaces a missing replica
#   form-cluster.sh replace NAME  gives up the data of a node whose volume is lost: its replica
#                                 becomes the master, and the empty node may start as a replica
#
#   NODES           name=host:port of all nodes, separated by spaces; masters first
#   REPLICAS        for each master; default 1
#   WAIT_S          how long to wait for the nodes, and for the cluster; default 60
#   PASSWORD_FILE   default /run/dialogs/redis-password
#   MARKER_DIR      where the nodes leave their markers, if it is mounted here; default /marker
#   FREE            how to remove a marker that is not mounted here, for messages
#   SELF            how to call this script, for messages
set -eu
: "${NODES:?name=host:port of all nodes}"
wait_s=${WAIT_S:-60}
self=${SELF:-form-cluster.sh}
REDISCLI_AUTH=$(cat "${PASSWORD_FILE:-/run/dialogs/redis-password}")
export REDISCLI_AUTH
client=$(command -v redis-cli || command -v valkey-cli)

# ---- asking

names() { for node in $NODES; do echo "${node%%=*}"; done; }

# host:port of a name. Redis knows its nodes by address, so a host name is looked up.
address_of() {
  for node in $NODES; do
    [ "${node%%=*}" = "$1" ] || continue
    where=${node#*=}
    host=${where%:*}
    case $host in *[!0-9.]*) host=$(getent hosts "$host" | awk 'NR == 1 { print $1 }') ;; esac
    echo "$host:${where##*:}"
    return
  done
  fail "There is no node $1; there are: $(names | tr '\n' ' ')"
}

ask() { # name, command …
  address=$(address_of "$1")
  shift
  timeout 5 "$client" -h "${address%:*}" -p "${address##*:}" "$@" 2>&1
}

answers() { [ "$(ask "$1" ping)" = PONG ]; }
view_of() { ask "$1" cluster nodes; }
is_member() { [ "$(view_of "$1" | grep -c .)" -gt 1 ] || view_of "$1" | grep -q ' [0-9]*-[0-9]*$'; }
number_of() { ask "$1" cluster info | tr -d '\r' | awk -F: -v name="$2" '$1 == name { print $2 }'; }
is_complete() {
  [ "$(number_of "$1" cluster_state)" = ok ] && [ "$(number_of "$1" cluster_slots_ok)" = 16384 ]
}

# The name of the node at an address; the address itself if it has none.
name_at() {
  for name in $(names); do
    if [ "$(address_of "$name")" = "$1" ]; then echo "$name"; return; fi
  done
  echo "$1"
}

# In replies to CLUSTER NODES, field 2 is host:port@bus, field 3 the flags, field 4 the master's id,
# field 8 the state of the link; what follows are slots.

# The id of the node at an address, as another node sees it.
id_at() { view_of "$1" | awk -v at="$2" '{ split($2, a, "@"); if (a[1] == at) print $1 }'; }

# Whether a node id still owns slots, as another node sees it.
owns() { view_of "$1" | awk -v id="$2" '$1 == id && NF > 8 { found = 1 } END { exit !found }'; }
owns_nothing() { ! owns "$1" "$2"; }

# The address of a living replica of a node id.
replica_of() {
  view_of "$1" | awk -v id="$2" '$4 == id && $3 !~ /fail/ { split($2, a, "@"); print a[1]; exit }'
}

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# Repeats a command every half second until it succeeds; false when the time is over.
until_true() { # seconds, command …
  end=$(($(date +%s) + $1))
  shift
  until "$@"; do
    [ "$(date +%s)" -lt "$end" ] || return 1
    sleep 0.5
  done
}

# Sorts the nodes into members of a cluster, empty nodes, and silent ones.
sort_nodes() {
  members='' empty='' silent=''
  for name in $(names); do
    if ! answers "$name"; then silent="$silent $name"
    elif is_member "$name"; then members="$members $name"
    else empty="$empty $name"
    fi
  done
  [ -z "$silent" ]
}

first() { set -- $1; echo "${1:-}"; }

# ---- forming

form() {
  for name in $empty; do
    [ "$(ask "$name" dbsize)" = 0 ] ||
      fail "$name holds keys but belongs to no cluster: empty it, or remove it from NODES."
  done
  say "Making a cluster of$empty"
  addresses=''
  for name in $empty; do addresses="$addresses $(address_of "$name")"; done
  # Word splitting is intended: each word is an argument.
  "$client" --cluster create $addresses --cluster-replicas "${REPLICAS:-1}" --cluster-yes
}

# The master with the fewest living replicas: its id.
neediest_master() {
  view_of "$1" | awk '
    $3 ~ /master/ && $3 !~ /fail/ && NF > 8 { count[$1] += 0 }
    $3 ~ /slave/ && $3 !~ /fail/ && $8 == "connected" { replicas[$4]++ }
    END {
      for (id in count) if (best == "" || replicas[id] + 0 < replicas[best] + 0) best = id
      print best
    }'
}

knows() {
  view_of "$1" | awk -v at="$2" '
    { split($2, a, "@"); if (a[1] == at && $3 !~ /handshake|fail|noaddr/) found = 1 }
    END { exit !found }'
}

join_empty() { # name
  member=$(first "$members")
  at=$(address_of "$1")
  for id in $(id_at "$member" "$at"); do
    owns_nothing "$member" "$id" || fail "$1 is empty, but the cluster knows its address as that of \
a master with messages. Stop $1 now, so that its replica cannot copy it, and mount its volume again, \
or give it up: $self replace $1"
  done
  master=$(neediest_master "$member")
  [ -n "$master" ] || fail "There is no master that $1 could replicate."
  to=$(address_of "$member")
  ask "$1" cluster meet "${to%:*}" "${to##*:}" > /dev/null
  until_true 30 knows "$member" "$at" || fail "$1 does not get to know the cluster"
  until_true 30 replicates "$1" "$master" || fail "$1 does not become a replica"
  until_true "$wait_s" has_copy "$1" || fail "$1 does not get its copy within $wait_s s"
  say "$1 joined as a replica"
}

replicates() { [ "$(ask "$1" cluster replicate "$2")" = OK ]; }
has_copy() { ask "$1" info replication | tr -d '\r' | grep -q '^master_link_status:up$'; }

# ---- what is wrong

all_complete() {
  sort_nodes || true
  for name in $members; do
    is_complete "$name" || { introduce; return 1; }
  done
}

# Nodes that came back under other addresses do not find each other, because Redis remembers
# addresses. Introducing nodes that know each other already changes nothing.
introduce() {
  for name in $members; do
    to=$(address_of "$name")
    ask "$(first "$members")" cluster meet "${to%:*}" "${to##*:}" > /dev/null || true
  done
}

# Does what check-node.sh would do a little later. Without it, a volume that is lost within these
# seconds would not be noticed.
leave_markers() {
  [ -d "${MARKER_DIR:-/marker}" ] || return 0
  for name in $members; do
    [ -e "${MARKER_DIR:-/marker}/$name" ] || : > "${MARKER_DIR:-/marker}/$name"
  done
}

explain() {
  member=$(first "$members")
  say "The cluster is not complete: only $(number_of "$member" cluster_slots_ok) of 16384 slots work."
  view_of "$member" | awk '$3 ~ /fail/ && NF > 8 { print $1, $2 }' | while read -r id where; do
    master=$(name_at "${where%@*}")
    say "- The master $master (${where%@*}) does not answer. Its log says why."
    replica=$(replica_of "$member" "$id")
    if [ -z "$replica" ]; then
      say "  Its replica does not answer either. Bring one of the two back: nobody else has its messages."
      continue
    fi
    say "  Its replica $(name_at "$replica") has a copy, but has not been connected to it since it started."
    say "  It does not take over by itself, because the master may have newer messages on its disk."
    say "  Bring $master back. Or, if its data is lost, give it up: $self replace $master"
  done
}

# ---- replacing

replace() { # name
  lost=$1
  at=$(address_of "$lost")
  sort_nodes || true
  case " $members " in
    *" $lost "*) fail "$lost answers and has its data: there is nothing to replace." ;;
  esac
  member=$(first "$members")
  [ -n "$member" ] || fail "No other node of the cluster answers."
  for id in $(id_at "$member" "$at"); do
    if owns "$member" "$id"; then promote_replica_of "$id"; fi
    for name in $members; do ask "$name" cluster forget "$id" > /dev/null || true; done
  done
  if [ -e "${MARKER_DIR:-/marker}/$lost" ]; then
    rm -f "${MARKER_DIR:-/marker}/$lost"
    say "$lost may start again. Waiting for it ..."
  else
    say "$lost may start again: ${FREE:-remove its marker}. Waiting for it ..."
  fi
  until_true 150 answers "$lost" || fail "$lost does not start: start it, then run $self"
  sort_nodes || true
  case " $empty " in *" $lost "*) join_empty "$lost" ;; esac
}

promote_replica_of() { # id
  where=$(replica_of "$member" "$1")
  [ -n "$where" ] || fail "$lost is a master, and no replica of it answers. Bring its replica back: \
nobody else has these messages."
  replica=$(name_at "$where")
  say "Making $replica the master in place of $lost"
  # By election; without one if the remaining masters are not a majority.
  ask "$replica" cluster failover force > /dev/null
  until_true 10 owns_nothing "$member" "$1" && return
  ask "$replica" cluster failover takeover > /dev/null
  until_true 10 owns_nothing "$member" "$1" ||
    fail "$replica does not become the master: $(ask "$replica" cluster info)"
}

# ---- main

case ${1:-form} in
  form) ;;
  replace) replace "${2:?the name of the node}" ;;
  *) fail "Unknown command $1: form, or replace NAME" ;;
esac

until_true "$wait_s" sort_nodes || say "Without an answer:$silent (their logs say why)"
if [ -z "$members" ]; then
  [ -z "$silent" ] || fail "There is no cluster yet, and all nodes are needed to form one."
  form
else
  for name in $empty; do join_empty "$name"; done
fi

if ! until_true "$wait_s" all_complete; then
  explain >&2
  exit 1
fi
leave_markers
[ -z "$silent" ] ||
  say "The cluster works without$silent. If the data of a node is lost for good: $self replace NAME"
say 'The cluster is ready'
