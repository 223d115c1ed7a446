# shellcheck shell=bash disable=SC2154
# Makes a whole customer domain with a core in one folder: certificates, accounts, keys, configuration. Sourced.
#
# Sets for its caller: auth_url, core_url, kms_host, the ports auth_port, core_port and *_health_port, and
# password[alice|bob]. Everything is for loopback and for one trial; config/ explains each key of the files it writes.

declare -A password=()
mail_domain=example.com
kms_host=kms.example.com
organisation=example
# Where authorization service and core are found, and where they listen.
auth_host=localhost core_host=localhost listen_address=127.0.0.1

# make_domain DIR PROGRAMS LOG-LEVEL [CORE-DIR]: with CORE-DIR a further domain, at the core that make_domain made there
# (core_url and core_port are that one's); mail_domain, kms_host and organisation have to be its own.
make_domain() {
    local dir=$1 programs=$2 level=$3 person allow_root=false
    # Where the core's certificates are, and how the configuration in DIR/kms names that.
    local core_pki=${4:-$dir}/pki/core core_files=${4:-..}/pki/core
    ((EUID == 0)) && allow_root=true
    umask 077
    "$repository/deploy/lib/pki.sh" "$dir/pki" "$kms_host" "$auth_host" "$core_host"
    mkdir -p "$dir"/{auth,core,kms,log}
    local port
    for port in auth_port auth_health_port kms_health_port; do free_port "$port"; done
    [[ -n ${4:-} ]] || for port in core_port core_health_port; do free_port "$port"; done
    auth_url=https://$auth_host:$auth_port
    core_url=https://$core_host:$core_port

    for person in alice bob; do
        password[$person]=$(openssl rand -hex 16)
        "$programs/hds-auth" add-account --accounts "$dir/auth/accounts.yaml" --email "$person@$mail_domain" \
            --name "${person^}" --organisation "$organisation" <<<"${password[$person]}" >"$dir/auth/$person.id"
        printf '%s\n' "${password[$person]}" >"$dir/$person.password"
    done
    "$programs/hds-auth" add-service --accounts "$dir/auth/accounts.yaml" --id hds-kms --organisation "$organisation" \
        --grant cloud=link:kms --introspects kms --secret-file "$dir/kms/client-secret"
    "$programs/hdsctl" master-key create "$dir/kms/master-key" >"$dir/log/master-key.txt"

    # The part that is the same for every service.
    runtime() {
        printf 'runtime:\n  health:\n    address: 127.0.0.1:%s\n  log:\n    level: %s\n    format: text\n' "$1" "$level"
        printf '  allow-root: %s\n' "$allow_root"
    }
    {
        cat <<END
issuer: $auth_url
listen: $listen_address:$auth_port
tls:
  certificate: ../pki/customer/auth.pem
  private-key: ../pki/customer/auth.key
accounts: accounts.yaml
state: state
domain:
  name: $mail_domain
  core: $core_url
  kms: kms://$kms_host
  kms-roots: [../pki/customer/root.pem]
END
        runtime "$auth_health_port"
    } >"$dir/auth/hds-auth.yaml"
    [[ -n ${4:-} ]] || {
        cat <<END
listen: $listen_address:$core_port
public-url: $core_url
tls:
  certificate: ../pki/core/core.pem
  private-key: ../pki/core/core.key
store:
  database: core.sqlite
  files: files
organisations:
  - id: $organisation
    domains: [$mail_domain]
    authorization-server: $auth_url
    issuer: $auth_url
    jwks: $auth_url/jwks.json
    ca: ../pki/customer/root.pem
    kms-cluster: kms://$kms_host
END
        runtime "$core_health_port"
    } >"$dir/core/hds-core.yaml"
    {
        cat <<END
node: trial
organisation: $organisation
host: $kms_host
machine-account: $(cat /proc/sys/kernel/random/uuid)
static-key:
  private-key: ../pki/customer/kms.key
  certificate: ../pki/customer/kms.pem
master-key: master-key
store:
  file: kms.sqlite
core:
  link: wss://$core_host:$core_port/link/v1
  ca: $core_files/root.pem
  pins: [$(cat "$core_pki/core.pin"), $(cat "$core_pki/next.pin")]
authorization:
  issuers:
    - issuer: $auth_url
      jwks: $auth_url/jwks.json
      ca: ../pki/customer/root.pem
      revocations: $auth_url/revocations
      revocations-every: 1s
      customer-controlled: true
  service-account:
    token-endpoint: $auth_url/token
    ca: ../pki/customer/root.pem
    client-id: hds-kms
    client-secret: client-secret
control:
  socket: control.sock
END
        runtime "$kms_health_port"
    } >"$dir/kms/hds-kms.yaml"

    # What an administrator hands to the users: the servers of the domain and the certificates to hold them against.
    pem() { awk '{ printf "%s\\n", $0 }' "$1"; }
    cat >"$dir/domain.json" <<END
{"domain": "$mail_domain", "issuer": "$auth_url", "issuerRoots": ["$(pem "$dir/pki/customer/root.pem")"],
 "core": "$core_url", "coreRoots": ["$(pem "$core_pki/root.pem")"], "corePins": ["$(cat "$core_pki/core.pin")"],
 "kmsCluster": "kms://$kms_host", "kmsRoots": ["$(pem "$dir/pki/customer/root.pem")"]}
END
}

# kms_serial DIR: the serial number of the KMS's certificate as its key URI has it.
kms_serial() {
    local serial
    serial=$(openssl x509 -in "$1/pki/customer/kms.pem" -noout -serial)
    printf '%d' "0x${serial#serial=}"
}

# token_heading DIR: the first part of every token that hds-auth signs now (its header, with the id of the signing key),
# taken from a token that is fetched for it with the KMS's own account.
token_heading() {
    local body='grant_type=client_credentials&audience=cloud' account
    account=$(printf 'hds-kms:%s' "$(head -n 1 "$1/kms/client-secret")" | openssl base64 -A)
    printf 'POST /token HTTP/1.1\r\nHost: localhost:%s\r\nAuthorization: Basic %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
        "$auth_port" "$account" application/x-www-form-urlencoded "${#body}" "$body" |
        timeout 10 openssl s_client -quiet -no_ign_eof -ign_eof -verify_return_error -CAfile "$1/pki/customer/root.pem" -servername localhost \
            -connect "127.0.0.1:$auth_port" 2>/dev/null |
        sed -n 's/.*"access_token":"\([^".]*\)\..*/\1/p'
}
