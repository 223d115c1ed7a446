# shellcheck shell=bash disable=SC2154,SC2034
# The ground of the drills on installed nodes: core, authorization service, three nodes of the KMS, PostgreSQL with a
# synchronous standby and a spare machine, each a systemd node with the built packages; people at work and the network
# between by the desk (Tests/StoryTests/Drills/Installed/DrillDesk.swift). Sourced; needs terminal.sh, packages.sh,
# services.sh, domain.sh, nodes.sh; $repository, $packages, $nodes, $scratch and $report: folders.

kms_nodes=(kms-1 kms-2 kms-3)
databases=(db-1 db-2)
declare -A full_name=([core]=core.example.net [auth]=auth.example.com [spare]=spare.example.com)
for name in "${kms_nodes[@]}" "${databases[@]}"; do full_name[$name]=$name.example.com; done

# --- The desk

# desk ORDER...: one line to the desk; its answer is in $answer.
desk() {
    local line
    answer=
    printf '%s\n' "$*" >&"$desk_in"
    while IFS= read -r -t 240 -u "$desk_out" line; do
        if [[ $line == 'desk: '* ]]; then
            answer=${line#desk: }
            break
        fi
        printf '%s\n' "$line" >>"$scratch/desk.log"
    done
    case $answer in
        '') fault "the desk does not answer to: $*" ;;
        refused* | failed*) fault "$*: $answer" ;;
    esac
}

# desk_start: the process with people, wire and clocks; its network namespaces are the hosts.
desk_start() {
    local bundle word name
    bundle=$(echo "$repository"/.build/debug/*PackageTests.xctest)
    [[ -x $bundle ]] || die "there is no $bundle" "swift build --build-tests"
    echo 'nameserver 10.77.0.53' >"$scratch/resolv.conf"
    # shellcheck disable=SC2016 # for the shell within
    coproc DESK {
        exec env HDS_DRILL_DESK="$report" unshare --net --mount bash -c '
            mount --bind "$1" /etc/resolv.conf
            exec "$2" --testing-library swift-testing --filter "StoryTests.*DrillDeskTests"' \
            desk "$scratch/resolv.conf" "$bundle" 2>>"$scratch/desk.log"
    }
    desk_process=$DESK_PID
    # Drills run in shells of their own, which do not have the descriptors of a coprocess.
    exec {desk_in}>&"${DESK[1]}" {desk_out}<&"${DESK[0]}"
    eval "exec ${DESK[1]}>&- ${DESK[0]}<&-"
    while IFS= read -r -t 60 -u "$desk_out" line; do
        [[ $line == 'desk: ready '* ]] && break
        printf '%s\n' "$line" >>"$scratch/desk.log"
    done
    [[ ${line:-} == 'desk: ready '* ]] || die "the desk does not start" "$(tail -n 5 "$scratch/desk.log")"
    for word in ${line#desk: ready }; do node_network[${word%%=*}]=${word#*=}; done
}

# --- The machines

# machine HOST LAYER...: a systemd node, booted.
machine() {
    local host=$1 root=$nodes/$1/root
    shift
    node_layers[$host]=$*
    node_mount "$host"
    echo "${full_name[$host]}" >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s %s\n' "${full_name[$host]}" "$host" >"$root/etc/hosts"
    echo 'nameserver 10.77.0.53' >"$root/etc/resolv.conf"
    node_up "$host" || die "$host does not boot"
}

# layers: Debian with the packages of the appliance, with those of the core, and with PostgreSQL.
layers() {
    rm -rf "$nodes/base/srv/packages"
    mkdir -p "$nodes/base/srv"
    cp -r "$packages" "$nodes/base/srv/packages"
    # What was installed by an earlier run has to be these packages.
    if ! (cd "$packages" && sha256sum ./*.deb) | cmp -s - "$nodes/layers/sums"; then
        rm -rf --one-file-system "$nodes"/layers/{appliance,core}{,.made}
    fi
    node_layer appliance sh -c 'dpkg -i /srv/packages/hds-common_*.deb /srv/packages/hds-appliance_*.deb' || return
    node_layer core sh -c 'dpkg -i /srv/packages/hds-common_*.deb /srv/packages/hds-reference-core_*.deb' || return
    (cd "$packages" && sha256sum ./*.deb) >"$nodes/layers/sums"
    node_layer database sh -c 'apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends postgresql libfaketime && apt-get clean && rm -rf /var/lib/apt/lists/*'
}

# --- The database

# sql HOST STATEMENT...
sql() { node "$1" setpriv --reuid=postgres --regid=postgres --init-groups psql -X -q -A -t -d "${database:-postgres}" -c "$2"; }

# database_certificates: one authority, a certificate for each server.
database_certificates() {
    local made=$scratch/database host
    mkdir -p "$made"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$made/root.key" \
        -out "$made/root.pem" -subj '/CN=throw-away database root' -addext basicConstraints=critical,CA:TRUE 2>/dev/null
    for host in "${databases[@]}"; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$made/$host.key" \
            -out "$made/$host.csr" -subj "/CN=$host.example.com" 2>/dev/null
        openssl x509 -req -in "$made/$host.csr" -CA "$made/root.pem" -CAkey "$made/root.key" -days 2 \
            -out "$made/$host.pem" 2>/dev/null \
            -extfile <(printf 'subjectAltName=DNS:%s.example.com\nextendedKeyUsage=serverAuth\n' "$host")
    done
    openssl rand -hex 16 | tr -d '\n' >"$made/password"
    chmod 600 "$made"/*
}

# database_settings HOST: what is in no cluster's data folder.
database_settings() {
    local target=$nodes/$1/root/etc/postgresql/15/main
    mkdir -p "$target/conf.d"
    cp "$scratch/database/$1.pem" "$target/server.pem"
    cp "$scratch/database/$1.key" "$target/server.key"
    printf '%s\n' "listen_addresses = '*'" "ssl = on" "ssl_cert_file = '/etc/postgresql/15/main/server.pem'" \
        "ssl_key_file = '/etc/postgresql/15/main/server.key'" "max_connections = 200" \
        "wal_receiver_status_interval = 1s" "wal_log_hints = on" >"$target/conf.d/hds.conf"
    printf '%s\n' 'local all all peer' 'hostssl replication replicator samenet trust' \
        'hostssl all all samenet scram-sha-256' >"$target/pg_hba.conf"
    node "$1" chown -R postgres:postgres /etc/postgresql/15/main
    node "$1" chmod 600 /etc/postgresql/15/main/server.key
}

# make_standby HOST OF: takes a copy of the other one and follows it.
make_standby() {
    node "$1" systemctl stop postgresql@15-main postgresql
    node "$1" find /var/lib/postgresql/15/main -mindepth 1 -delete
    node "$1" setpriv --reuid=postgres --regid=postgres --init-groups --reset-env pg_basebackup -h "${full_name[$2]}" \
        -U replicator -D /var/lib/postgresql/15/main -R -c fast --no-sync
    # After its promotion it has no standby yet, and would wait for ever.
    node "$1" sed -i '/synchronous_standby_names/d' /var/lib/postgresql/15/main/postgresql.auto.conf
    node "$1" systemctl start postgresql
}

synchronous() {
    sql "$1" "ALTER SYSTEM SET synchronous_standby_names = '*'"
    sql "$1" "SELECT pg_reload_conf()" >/dev/null
    becomes 30 in_sync "$1" || die "the standby of $1 is not synchronous"
}
in_sync() { [[ $(sql "$1" "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1 ]]; }

database_up() {
    local host
    database_certificates
    for host in "${databases[@]}"; do
        machine "$host" database
        database_settings "$host"
    done
    node db-1 systemctl restart postgresql
    node db-1 systemctl enable --quiet postgresql
    node db-2 systemctl enable --quiet postgresql
    sql db-1 "CREATE ROLE replicator LOGIN REPLICATION"
    sql db-1 "CREATE ROLE hds LOGIN PASSWORD '$(<"$scratch/database/password")'"
    sql db-1 "CREATE DATABASE hds OWNER hds TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    database=hds sql db-1 "GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO hds"
    make_standby db-2 db-1
    synchronous db-1
}

# --- The services

# The configuration of an installed service, from that of a trial: secrets from systemd, state where the units have it.
installed_configuration() {
    sed -e 's|\.\./pki/customer/root\.pem|customer-root.pem|; s|\.\./pki/core/root\.pem|core-root.pem|' \
        -e 's|\.\./pki/[a-z]*/\([a-z]*\.pem\)|\1|' \
        -e "s|private-key: \.\./pki/.*|private-key: credential:$2|" \
        -e 's|^master-key: .*|master-key: credential:kms-master-key|' \
        -e 's|client-secret: client-secret|client-secret: credential:kms-client-secret|' \
        -e "s|^state: .*|state: /var/lib/hds-auth|" \
        -e 's|database: .*|database: /var/lib/hds-core/core.sqlite|; s|files: files|files: /var/lib/hds-core/files|' \
        -e 's|file: kms.sqlite|file: /var/lib/hds-kms/kms.sqlite|; s|socket: control.sock|socket: /run/hds-kms/control.sock|' \
        -e "/health:/,/address:/s|address: .*|address: 127.0.0.1:$3|" -e 's|format: text|format: auto|' \
        -e '/allow-root/d' "$1"
}

# give HOST FILE TARGET [MODE]: below /etc/hds.
give() { install -D -m "${4:-644}" "$2" "$nodes/$1/root/etc/hds/$3"; }

provision_auth() {
    machine auth appliance
    give auth "$scratch/domain/pki/customer/auth.key" credentials/auth-tls-key.pem 600
    give auth "$scratch/domain/pki/customer/auth.pem" auth.pem
    give auth "$scratch/domain/pki/customer/root.pem" customer-root.pem
    give auth "$scratch/domain/auth/accounts.yaml" accounts.yaml 640
    node auth chgrp hds-auth /etc/hds/accounts.yaml
    installed_configuration "$scratch/domain/auth/hds-auth.yaml" auth-tls-key 9443 >"$nodes/auth/root/etc/hds/hds-auth.yaml"
    node auth systemctl enable --now --quiet hds-auth
}

provision_core() {
    machine core core
    give core "$scratch/domain/pki/core/core.key" credentials/core-tls-key.pem 600
    give core "$scratch/domain/pki/core/core.pem" core.pem
    give core "$scratch/domain/pki/customer/root.pem" customer-root.pem
    installed_configuration "$scratch/domain/core/hds-core.yaml" core-tls-key 9442 >"$nodes/core/root/etc/hds/hds-core.yaml"
    node core systemctl enable --now --quiet hds-core
}

# kms_files HOST: what every machine of the KMS has, whatever its store is.
kms_files() {
    give "$1" "$scratch/domain/pki/customer/kms.key" credentials/kms-static-key.pem 600
    give "$1" "$scratch/domain/kms/client-secret" credentials/kms-client-secret 600
    give "$1" "$scratch/domain/pki/customer/kms.pem" kms.pem
    give "$1" "$scratch/domain/pki/customer/root.pem" customer-root.pem
    give "$1" "$scratch/domain/pki/core/root.pem" core-root.pem
    give "$1" "$scratch/officers.json" officers.json
    installed_configuration "$scratch/domain/kms/hds-kms.yaml" kms-static-key 9440 |
        sed -e "s|^node: trial|node: $1|" \
            -e 's|^control:|officers:\n  file: /etc/hds/officers.json\nbackup:\n  folder: /var/lib/hds-kms/backups\ncontrol:|' \
            >"$nodes/$1/root/etc/hds/hds-kms.yaml"
    node "$1" install -d -m 700 -o hds-kms -g hds-kms /var/lib/hds-kms /var/lib/hds-kms/backups
}

# provision_kms HOST: a node over the database.
provision_kms() {
    local root=$nodes/$1/root
    machine "$1" appliance
    kms_files "$1"
    give "$1" "$scratch/domain/kms/master-key" credentials/kms-master-key 600
    give "$1" "$scratch/database/password" credentials/kms-database-password 600
    give "$1" "$scratch/database/root.pem" database-root.pem
    sed -i "s|^  file: /var/lib/hds-kms/kms.sqlite|  postgresql:\n    hosts: [\"db-1.example.com:5432\", \"db-2.example.com:5432\"]\n    database: hds\n    user: hds\n    password: credential:kms-database-password\n    ca: /etc/hds/database-root.pem\naudit:\n  folder: /var/lib/hds-kms/audit|" \
        "$root/etc/hds/hds-kms.yaml"
    mkdir -p "$root/etc/systemd/system/hds-kms.service.d"
    printf '[Service]\nLoadCredential=kms-database-password:/etc/hds/credentials/kms-database-password\n' \
        >"$root/etc/systemd/system/hds-kms.service.d/database.conf"
    node "$1" systemctl daemon-reload
    node "$1" systemctl enable --quiet hds-kms
    node "$1" systemctl start --no-block hds-kms
}

# officer_keys: ada may do everything alone but what needs a second one, ben is the second one.
officer_keys() {
    local hdsctl=$nodes/layers/appliance/usr/bin/hdsctl entry entries=()
    (umask 077; echo 'correct horse battery staple' >"$scratch/passphrase")
    while read -r id duties; do
        # shellcheck disable=SC2086 # words
        entry=$("$hdsctl" officer create "$scratch/$id.pem" --id "$id" --passphrase-file "$scratch/passphrase" \
            --duty $duties 2>>"$scratch/officers.log" | grep '^{')
        entries+=("$entry")
    done <<<$'ada policy freeze erasure compliance cluster\nben four-eyes'
    printf '{"officers": [%s]}\n' "$(IFS=,; echo "${entries[*]}")" >"$scratch/officers.json"
}

# ground: everything up, and people who have logged in.
ground() {
    local host
    auth_host=${full_name[auth]} core_host=${full_name[core]} listen_address=0.0.0.0
    make_domain "$scratch/domain" "$nodes/layers/appliance/usr/bin" info >"$scratch/domain.log" 2>&1 ||
        die "the domain could not be made" "$(tail -n 5 "$scratch/domain.log")"
    # What nodes have is not for root alone, as make_domain leaves it.
    umask 022
    # Clients know the core's next key, as nodes do.
    sed -i "s|\"corePins\": \[|&\"$(<"$scratch/domain/pki/core/next.pin")\", |" "$scratch/domain/domain.json"
    officer_keys
    database_up
    provision_auth
    provision_core
    for host in "${kms_nodes[@]}"; do provision_kms "$host"; done
    becomes 60 whole || die "not every node is ready" "$(for host in "${kms_nodes[@]}"; do state "$host"; done)"
    desk people "$scratch/domain"
}

# --- What drills look at

now() { date +%s%N; }
# becomes SECONDS COMMAND...: until it succeeds.
becomes() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}
active() { node "$1" systemctl is-active --quiet "$2"; }
main_pid() { node "$1" systemctl show -P MainPID "$2"; }
ready() { node "$1" curl -fs -o /dev/null --max-time 2 http://127.0.0.1:9440/readyz; }
state() { printf '%s: %s\n' "$1" "$(node "$1" systemctl show -P StatusText hds-kms)"; }
# alarm HOST ID: it stands.
alarm() {
    local port=9440
    [[ $1 != core ]] || port=9442
    node "$1" curl -sS --max-time 2 "http://127.0.0.1:$port/healthz" | grep -q "\"id\":\"$2\""
}
# new_process HOST UNIT OLD: active again, in another process.
new_process() { active "$1" "$2" && [[ $(main_pid "$1" "$2") != "$3" && $(main_pid "$1" "$2") != 0 ]]; }
message_id() { sed -n "/\"$1\", \"[0-9a-f]*\"/s/.*\"$1\", \"\([0-9a-f]*\)\".*/\1/p" "$repository"/Sources/Diagnostics/*.swift | head -n 1; }
whole() {
    local host
    for host in "${present_nodes[@]:-${kms_nodes[@]}}"; do ready "$host" || return 1; done
}
primary() {
    local host
    for host in "${databases[@]}"; do
        if [[ $(sql "$host" "SELECT pg_is_in_recovery()" 2>/dev/null) == f ]]; then
            echo "$host"
            return
        fi
    done
    return 1
}

# --- The steps of a drill

# fault TEXT: the drill has not passed.
fault() {
    printf '%s\n' "$*" >"$scratch/fault"
    exit 1
}

# strike COMMAND...: the fault begins; times count from here.
strike() {
    desk strike
    blow=${answer#struck }
    (($# == 0)) || "$@"
}

# journal_line HOST [SINCE] MATCH...: the first entry since the blow, as MICROSECONDS TEXT.
journal_line() {
    local host=$1
    shift
    node "$host" journalctl -q --no-pager -o short-unix --since "@$((blow / 1000000))" "$@" 2>/dev/null |
        awk -v blow="$blow" '/^[0-9]+\.[0-9]+ / && $1 * 1000000 >= blow {
            at = $1; sub(/\./, "", at); $1 = ""; $2 = ""; sub(/^ +/, ""); print at, $0; exit }'
}

# detected HOST MATCH...: waits for the line of a journal that says first what is wrong.
detected() { prove detected "$@"; }
# proof HOST MATCH...: waits for a line of a journal that shows what happened.
proof() { prove proof "$@"; }
# As long as anything may take before the drill counts as failed.
prove() {
    local order=$1 deadline=$((SECONDS + 180)) host=$2 line=
    shift 2
    until line=$(journal_line "$host" "$@") && [[ -n $line ]]; do
        ((SECONDS < deadline)) || fault "the journal of $host has no entry with $*"
        sleep 0.2
    done
    desk "$order" "${line%% *}" "$host" "${line#* }"
}
# with_id ID: how journalctl finds an event or an alarm.
with_id() {
    local id
    id=$(message_id "$1")
    [[ -n $id ]] || fault "nothing is called $1"
    echo "MESSAGE_ID=$id"
}

recovered() { desk recovered; }
# mend COMMAND...: the fault ends.
mend() {
    desk mend
    (($# == 0)) || "$@"
}
# restored: every node is ready, and everybody goes on.
restored() {
    becomes 180 whole || fault "not every node is ready again: $(for host in "${kms_nodes[@]}"; do state "$host"; done | tr '\n' ' ')"
    desk restored
}
figure() { desk figure "$1" "$2"; }
hold() { sleep "$1"; }

# hdsctl HOST WORDS...: as root on a machine.
hdsctl() { node "$1" hdsctl "${@:2}"; }
# as_service HOST COMMAND...: as the service's user, with its credentials, as a unit of its own.
as_service() {
    local host=$1 options=() file
    shift
    for file in "$nodes/$host/root/etc/hds/credentials"/*; do
        file=${file##*/}
        options+=(-p "LoadCredential=${file%.pem}:/etc/hds/credentials/$file")
    done
    node "$host" systemd-run --quiet --wait --collect --pipe -p User=hds-kms -p Group=hds-operators "${options[@]}" -- "$@"
}

# if_any HOST MATCH...: the line that may be there and need not.
if_any() {
    local line
    line=$(journal_line "$@")
    [[ -z $line ]] || desk proof "${line%% *}" "$1" "${line#* }"
}

# --- Pieces of several drills

# core_certificate KEY FILE LIFE: for the core, by the core's authority.
core_certificate() {
    local made=$scratch/authority
    mkdir -p "$made"
    [[ -e $made/serial ]] || echo "10$(openssl rand -hex 6)" >"$made/serial"
    : >"$made/index.txt"
    cat >"$made/ca.cnf" <<END
[ca]
default_ca = authority
[authority]
new_certs_dir = $made
database = $made/index.txt
serial = $made/serial
default_md = sha256
policy = names
x509_extensions = server
unique_subject = no
[names]
commonName = supplied
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, DNS:${full_name[core]}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
    openssl req -new -key "$1" -subj /CN=localhost -out "$made/request.pem" 2>/dev/null
    openssl ca -batch -notext -config "$made/ca.cnf" -cert "$scratch/domain/pki/core/issuing.pem" \
        -keyfile "$scratch/domain/pki/core/issuing.key" -in "$made/request.pem" -out "$made/leaf.pem" \
        -startdate "$(date -u -d '-1 hour' +%Y%m%d%H%M%SZ)" -enddate "$(date -u -d "+$3" +%Y%m%d%H%M%SZ)" 2>"$made/log" ||
        fault "no certificate for the core: $(tail -n 2 "$made/log")"
    cat "$made/leaf.pem" "$scratch/domain/pki/core/issuing.pem" >"$2"
}

other_database() { if [[ $1 == db-1 ]]; then echo db-2; else echo db-1; fi; }

# database_lost HOST: its machine is gone without a word.
database_lost() {
    desk cut "$1" "$(other_database "$1"),core,auth,clients,kms-1,kms-2,kms-3"
    node_power_failure "$1"
}

# database_returns_as_standby HOST OF: it boots without its database, and becomes the standby of the other one.
database_returns_as_standby() {
    rm -f "$nodes/$1/root/etc/systemd/system/multi-user.target.wants/postgresql.service"
    desk heal
    node_up "$1" || fault "$1 does not boot again"
    make_standby "$1" "$2"
    node "$1" systemctl enable --quiet postgresql
    synchronous "$2"
}

# small_disk HOST FOLDER: the folder lies on a disk of 512 MiB from the next start of hds-kms on; own_disk: as before.
small_disk() {
    node "$1" systemctl stop hds-kms
    node "$1" cp -a "$2" /root/kept
    node "$1" mount -t tmpfs -o size=512m tmpfs "$2"
    node "$1" cp -a /root/kept/. "$2/"
    node "$1" rm -r /root/kept
    node "$1" systemctl start --no-block hds-kms
}
own_disk() {
    node "$1" systemctl stop hds-kms
    node "$1" cp -a "$2" /root/kept
    node "$1" umount "$2"
    node "$1" find "$2" -mindepth 1 -delete
    node "$1" cp -a /root/kept/. "$2/"
    node "$1" rm -r /root/kept
    node "$1" systemctl start --no-block hds-kms
}

# newer_packages FOLDER: the same programs as a newer release.
newer_packages() {
    local version newer file script
    version=$(dpkg-deb -f "$(echo "$packages"/hds-common_*.deb)" Version)
    newer=$version.1
    mkdir -p "$1"
    for file in "$packages"/hds-{common,appliance}_*.deb; do
        rm -rf "$scratch/unpacked"
        dpkg-deb -R "$file" "$scratch/unpacked"
        sed -i "s/^Version: .*/Version: $newer/; s/hds-common (= $version)/hds-common (= $newer)/" \
            "$scratch/unpacked/DEBIAN/control"
        for script in preinst postinst prerm postrm; do
            [[ ! -e $scratch/unpacked/DEBIAN/$script ]] ||
                sed -i "s/\"$version\"/\"$newer\"/g; s/ $version / $newer /g" "$scratch/unpacked/DEBIAN/$script"
        done
        dpkg-deb --root-owner-group -Znone --build "$scratch/unpacked" "$1/${file##*/}" >/dev/null
    done
}

# officers HOST: their keys and the passphrase, where an officer works.
officers() {
    install -m 600 "$scratch/ada.pem" "$scratch/ben.pem" "$scratch/passphrase" "$nodes/$1/root/root/"
}
