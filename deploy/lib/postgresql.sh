#!/bin/bash
# A throw-away PostgreSQL server for tests and measurements, as an unprivileged user, over TLS on 127.0.0.1.
#
#   deploy/lib/postgresql.sh FOLDER PORT                     a new server
#   deploy/lib/postgresql.sh FOLDER PORT --standby-of DIR    a streaming standby of the server in DIR
#   ... --at NAME ADDRESS                                    under this name at this address, for its whole network
#   deploy/lib/postgresql.sh --find                          only prints where the server's programs are; 1 for nowhere
#
# FOLDER is made, and deleted at the end; every user has to be able to get there. In it: root.pem (what to trust; the
# server's name is localhost), password (of the user hds, who owns the database hds), port, and the unix socket, through
# which `admin` needs no password. The user `open` needs neither TLS nor a password, for tests that look at the wire.
# Prints `ready` and then obeys lines on the standard input, answering each with a line: start, stop (as a crash
# would), promote. It ends with its standard input, so that no server is left behind by a test that dies.
set -euo pipefail

find_programs() {
    local folder best=
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -n); do
        [[ -x $folder/initdb && $(basename "$(dirname "$folder")") -ge 15 ]] && best=$folder
    done
    [[ -n $best ]] && echo "$best"
}

if [[ ${1:-} == --find ]]; then find_programs; exit; fi
usage() {
    sed -n '2,15s/^# \{0,1\}//p' "$0" >&2
    exit 64
}
(($# >= 2)) || usage
folder=$1 port=$2 primary='' name=localhost address=127.0.0.1 peers=127.0.0.1/32
shift 2
while (($#)); do
    case $1 in
        --standby-of) primary=${2:?} && shift ;;
        --at) name=${2:?} address=${3:?} peers=samenet && shift 2 ;;
        *) usage ;;
    esac
    shift
done
programs=$(find_programs) || { echo "no PostgreSQL server on this machine: apt-get install postgresql" >&2; exit 69; }
as=()
if ((EUID == 0)); then
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    as=(setpriv "--reuid=$(id -u "$user")" "--regid=$(id -g "$user")" --clear-groups)
fi
server=
finish() {
    [[ -n $server ]] && kill -QUIT "$server" 2>/dev/null && wait "$server" 2>/dev/null
    cd /
    rm -rf "$folder"
}
trap finish EXIT
# Ends by its input only: a signal to the terminal's group is not for it.
trap '' INT
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
((EUID != 0)) || chown "$user" "$folder"
chmod 700 "$folder"
"${as[@]}" test -x "$folder" || { echo "user $user can not reach $folder: choose one in an open folder" >&2; exit 73; }
cd "$folder"
echo "$name" >name
# Where libpq looks for certificates: root's folder is not for the user that the server runs as.
export HOME=$folder
exec 2>>"$folder/log"

ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2)
authorities() {
    local authority
    for authority in root other; do
        openssl req -x509 "${ec[@]}" -keyout "$authority.key" -out "$authority.pem" -subj "/CN=throw-away $authority" \
            -addext basicConstraints=critical,CA:TRUE
    done
}

server_certificate() {
    openssl req "${ec[@]}" -keyout server.key -out server.csr -subj "/CN=$name"
    openssl x509 -req -in server.csr -CA root.pem -CAkey root.key -days 2 -out server.pem \
        -extfile <(printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$name")
    chmod 600 ./*.key
    ((EUID != 0)) || chown "$user" server.key server.pem
}

settings() {
    cat <<END
listen_addresses = '$address'
port = $port
unix_socket_directories = '$folder'
ssl = on
ssl_cert_file = '$folder/server.pem'
ssl_key_file = '$folder/server.key'
max_connections = 300
shared_buffers = 32MB
log_min_messages = fatal
wal_receiver_status_interval = 1s
END
}

create() {
    openssl rand -hex 16 | tr -d '\n' >password
    chmod 600 password
    echo "$port" >port
    "${as[@]}" "$programs/initdb" -D "$folder/data" -U admin -A trust --locale=C -E UTF8 --no-sync --no-instructions
    settings >>data/postgresql.conf
    printf '%s\n' 'local all all trust' 'local replication all trust' \
        "hostssl replication admin $peers trust" "hostssl all all $peers scram-sha-256" "host all open $peers trust" \
        >data/pg_hba.conf
}

copy() {
    cp "$primary"/{root,other}.{pem,key} "$primary"/password .
    echo "$port" >port
    server_certificate
    local own
    own=$(sed -n 's/^port = //p' "$primary/data/postgresql.conf" | tail -n 1)
    "${as[@]}" "$programs/pg_basebackup" -h "$primary" -p "$own" -U admin -D "$folder/data" -R -c fast --no-sync
    settings >>data/postgresql.conf
    [[ $name == localhost ]] ||
        printf "primary_conninfo = 'host=%s port=%s user=admin sslmode=require'\n" "$(<"$primary/name")" "$own" \
            >>data/postgresql.auto.conf
}

start() {
    "${as[@]}" "$programs/postgres" -D "$folder/data" </dev/null >>"$folder/log" 2>&1 &
    server=$!
    local deadline=$((SECONDS + 30))
    while ((SECONDS <= deadline)); do
        "$programs/pg_isready" -q -h "$folder" -p "$port" && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    tail -n 5 "$folder/log"
    return 1
}

if [[ -n $primary ]]; then copy >>log; else authorities >>log && server_certificate >>log && create >>log; fi
start
if [[ -z $primary ]]; then
    "$programs/psql" -q -h "$folder" -p "$port" -U admin -d postgres >>log <<END
CREATE ROLE hds LOGIN PASSWORD '$(<password)';
CREATE ROLE open LOGIN;
CREATE DATABASE hds OWNER hds;
GRANT CREATE ON DATABASE hds TO open;
END
fi
echo ready
while read -r line; do
    case $line in
        start) start ;;
        stop)
            # It may have ended by itself: a disk that is full does that.
            kill -QUIT "$server" 2>/dev/null || true
            wait "$server" || true
            server=
            ;;
        promote) "${as[@]}" "$programs/pg_ctl" promote -D "$folder/data" -w >>log ;;
        *) echo "unknown: $line" && continue ;;
    esac
    echo "$line done"
done
