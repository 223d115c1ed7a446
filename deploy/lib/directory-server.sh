#!/bin/bash
# A throw-away OpenLDAP server for tests, on 127.0.0.1, at ports that the kernel chooses.
#
#   deploy/lib/directory-server.sh FOLDER CERTIFICATE KEY    PEM; it speaks ldap:// with StartTLS, and ldaps://
#   deploy/lib/directory-server.sh --change PORT             LDIF from standard input, as its administrator
#   deploy/lib/directory-server.sh --find                    1 unless slapd and its tools are on this machine
#
# dc=example,dc=com with ou=people and ou=groups; `cn=admin,dc=example,dc=com` (admin-pw) may do everything,
# `cn=hds,dc=example,dc=com` (hds-pw) may read, at most 50 entries at a time unless it asks for pages. With the overlays
# syncprov (contextCSN) and ppolicy (pwdAccountLockedTime). FOLDER is made, and deleted at the end. Prints
# `ready PORT TLSPORT`, or a line that says why not, and ends with its standard input, so that no server is left behind by a
# test that dies.
set -euo pipefail

slapd=$(PATH=$PATH:/usr/sbin command -v slapd || true)
if [[ ${1:-} == --find ]]; then
    [[ -n $slapd ]] && command -v ldapmodify >/dev/null && command -v python3 >/dev/null
    exit
fi
if [[ ${1:-} == --change ]]; then
    # On failure one line that says why.
    log=$(ldapmodify -x -H "ldap://127.0.0.1:$2/" -D cn=admin,dc=example,dc=com -w admin-pw 2>&1) && exit
    tr '\n' ' ' <<<"$log" | cut -c 1-600
    exit 1
fi
if (($# != 3)); then
    sed -n '2,13s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
folder=$1 certificate=$2 key=$3
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
mkdir -p data
# The server's own certificate and those above it stand in one file; GnuTLS wants it so.
cp "$certificate" server.pem
(umask 077 && cp "$key" server.key)

cat >slapd.conf <<END
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
moduleload ppolicy
pidfile $folder/pid
TLSCertificateFile $folder/server.pem
TLSCertificateKeyFile $folder/server.key
TLSVerifyClient never
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw admin-pw
directory $folder/data
maxsize 67108864
dbnosync
index entryUUID,entryCSN,objectClass eq
limits dn.exact="cn=hds,dc=example,dc=com" size.soft=50 size.hard=50 size.prtotal=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=hds,dc=example,dc=com" read by * none
overlay syncprov
overlay ppolicy
END

free() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
port=
for ((try = 0; try < 5; try++)); do
    # slapd takes no port 0. What the kernel gave may be somebody else's a moment later: then again.
    port=$(free) tls_port=$(free)
    "$slapd" -d 0 -f slapd.conf -h "ldap://127.0.0.1:$port/ ldaps://127.0.0.1:$tls_port/" </dev/null >>log &
    server=$!
    for ((attempt = 0; attempt < 300; attempt++)); do
        kill -0 "$server" 2>/dev/null || break
        if ldapadd -x -H "ldap://127.0.0.1:$port/" -D cn=admin,dc=example,dc=com -w admin-pw >>log <<END; then
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: cn=hds,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: hds
userPassword: hds-pw
END
            is_ready=yes
            break 2
        fi
        sleep 0.1
    done
done
[[ -n $is_ready ]] || exit 1
echo "ready $port $tls_port"
cat >/dev/null
