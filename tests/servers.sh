#!/usr/bin/env bash
# Gets the servers and tools that tests need and pip cannot give. What cannot be had is said, and
# is no error here: each test decides whether to skip (see tests/needs.py).
set -euo pipefail

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Installs a Debian package without letting it start its service.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$1"
}

# want COMMAND PACKAGE WHY
want() {
    command -v "$1" >/dev/null && return
    if can_install && install_quietly "$2" >&2 && command -v "$1" >/dev/null; then
        return
    fi
    echo "tests/servers.sh: no $1 ($3): install the package '$2' (apt-get install $2)" >&2
}

want promtool prometheus "checks the alert rules"
want amtool prometheus-alertmanager "is given the alerts, and tells people"
want vmalert victoria-metrics "reads the rules that are made for it"
want redis-server redis-server "Celery's broker and result backend, and the queue of two labs"
want supervisord supervisor "the supervisor of the lab webinstall"
want rabbitmq-server rabbitmq-server "Celery's other broker"
want chromium chromium "shows the page"
