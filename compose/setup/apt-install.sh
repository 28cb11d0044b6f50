#!/bin/sh
# Installs Debian packages without leaving their services running, now or after the next boot: the
# embedded cluster and the tests start their own. Run as root: sh apt-install.sh redis-server …
set -eu
export DEBIAN_FRONTEND=noninteractive

# While this file exists and exits with 101, packages do not start services (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi

install() {
  apt-get install --yes --no-install-recommends "$@"
}

# The image may have no package lists, or lists older than what the mirror still has.
if ! install "$@"; then
  apt-get update
  install "$@"
fi

if [ -d /run/systemd/system ]; then
  for package in "$@"; do
    systemctl disable "$package" 2> /dev/null || true # most have no service
  done
fi
