#!/bin/bash
# A throw-away CalDAV server for tests, on 127.0.0.1, at a port that the kernel chooses.
#
#   deploy/lib/calendar-server.sh FOLDER radicale    Basic: alice/alicepw, bob/bobpw
#   deploy/lib/calendar-server.sh FOLDER xandikos    schedules; the user stands in X-Remote-User: alice, bob
#   deploy/lib/calendar-server.sh --install          puts both servers into .build/calendar-servers (from PyPI)
#   deploy/lib/calendar-server.sh --find             1 unless both are there
#
# FOLDER is made, and deleted at the end. Prints `ready PORT`, or a line that says why not, and ends with its standard
# input, so that no server is left behind by a test that dies.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
place=$root/.build/calendar-servers
# Those that the tests' table of differences was measured with.
wanted=(radicale==3.9.0 bcrypt==5.0.0 xandikos==0.4.10)
found() {
    [[ -x $place/bin/python ]] || return 1
    "$place/bin/python" - "${wanted[@]}" 2>/dev/null <<'PYTHON'
import sys
from importlib.metadata import version
sys.exit(any(version(name) != number for name, number in (word.split("==") for word in sys.argv[1:])))
PYTHON
}
case ${1:-} in
--find)
    found
    exit
    ;;
--install)
    found && exit
    rm -rf "$place"
    mkdir -p "$root/.build"
    python3 -m venv "$place"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check "${wanted[@]}"
    found
    exit
    ;;
esac
if (($# != 2)); then
    sed -n '2,11s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
folder=$1 kind=$2
server=
is_ready=
finish() {
    # One line that says why, for the folder goes.
    [[ -n $is_ready ]] || tail -qn 3 log 2>/dev/null | tr '\n' ' ' | cut -c 1-600
    if [[ -n $server ]] && kill -TERM "$server" 2>/dev/null; then wait "$server" 2>/dev/null || true; fi
    cd /
    rm -rf "$folder"
}
trap finish EXIT
# Ends by its input only: a signal to the terminal's group is not for it.
trap '' INT
mkdir -p "$folder"
cd "$folder"
exec 2>>"$folder/log"

# start: with the kernel's choice of a port.
start() {
    case $kind in
    radicale)
        # It takes no port 0. What the kernel would give may be somebody else's a moment later: see below.
        local free
        free=$("$place/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        printf 'alice:alicepw\nbob:bobpw\n' >users
        printf '%s\n' '[server]' "hosts = 127.0.0.1:$free" 'max_connections = 100' \
            '[auth]' 'type = htpasswd' "htpasswd_filename = $folder/users" 'htpasswd_encryption = plain' 'delay = 0' \
            '[rights]' 'type = owner_only' '[storage]' "filesystem_folder = $folder/data" \
            '[logging]' 'level = warning' >config
        "$place/bin/python" -m radicale --config "$folder/config" </dev/null >>log &
        ;;
    xandikos)
        mkdir -p data state
        "$place/bin/python" -m xandikos multi-user -d "$folder/data" --state-dir "$folder/state" --defaults \
            --no-detect-systemd -l 127.0.0.1 -p 0 --principal-path-prefix /principals/ \
            --trust-x-remote-user-from 127.0.0.1/32 </dev/null >>log &
        ;;
    *) exit 64 ;;
    esac
    server=$!
}

# The port on which a process listens, or nothing.
port_of() {
    "$place/bin/python" - "$1" <<'PYTHON'
import os, sys
own = set()
for name in os.listdir(f"/proc/{sys.argv[1]}/fd"):
    try:
        own.add(os.readlink(f"/proc/{sys.argv[1]}/fd/{name}"))
    except OSError:
        pass
for line in open("/proc/net/tcp").readlines()[1:]:
    words = line.split()
    if words[3] == "0A" and f"socket:[{words[9]}]" in own:
        print(int(words[1].split(":")[1], 16))
        break
PYTHON
}
port=
for ((try = 0; try < 5 && !port; try++)); do
    start
    for ((attempt = 0; attempt < 300; attempt++)); do
        kill -0 "$server" 2>/dev/null || break
        port=$(port_of "$server") || true
        [[ -z $port ]] || break 2
        sleep 0.1
    done
done
[[ -n $port ]] || exit 1

if [[ $kind == xandikos ]]; then
    # The first request makes the user; without an address nothing is scheduled.
    for user in alice bob; do
        curl -s -o /dev/null -H "X-Remote-User: $user" -X PROPFIND -H 'Depth: 0' \
            "http://127.0.0.1:$port/principals/$user/"
        curl -s -f -o /dev/null -H "X-Remote-User: $user" -X PROPPATCH -H 'Content-Type: application/xml' \
            --data "<D:propertyupdate xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\"><D:set><D:prop><C:calendar-user-address-set><D:href>mailto:$user@example.com</D:href></C:calendar-user-address-set></D:prop></D:set></D:propertyupdate>" \
            "http://127.0.0.1:$port/principals/$user/"
    done
fi
is_ready=yes
echo "ready $port"
# Until the end of the input.
cat >/dev/null
