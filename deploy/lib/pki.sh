#!/bin/bash
# Makes a throw-away PKI for trials and tests, without questions, in well under a second.
#
#   deploy/lib/pki.sh DIR [KMS-HOST [NAME...]]      KMS-HOST: kms.example.com when not given; NAME: of core and hds-auth
#
# Two worlds that do not trust each other by themselves:
#   DIR/core/      root.pem, issuing.pem          the cloud's own root and issuing CA (pathLenConstraint 0)
#                  core.pem, core.key             chain and key of hds-core, for localhost and 127.0.0.1
#                  core.pin, issuing.pin          sha256/BASE64 pins of their public keys
#                  next.key, next.pin             the core's next key, for a backup pin
#   DIR/customer/  root.pem, issuing.pem          the customer's
#                  auth.pem, auth.key             chain and key of hds-auth, for localhost and 127.0.0.1
#                  kms.pem, kms.key               the KMS's static key (RSA 2048) and its chain: CN and first DNS name are
#                                                 KMS-HOST, as docs and clients demand
#   root.key and issuing.key stand beside each. Chains are leaf first, without the root. Valid for 90 days.
set -euo pipefail

if (($# < 1)); then
    sed -n '2,16s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
kms_host=${2:-kms.example.com}
server_names=$(printf ', DNS:%s' "${@:3}")
(($# > 2)) || server_names=
umask 077
mkdir -p "$1/core" "$1/customer"
cd "$1"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/profiles.cnf" <<END
[req]
distinguished_name = name
prompt = no
[name]
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[issuing]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1$server_names
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[kms]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = DNS:$kms_host
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END

p256=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)
rsa=(-newkey rsa:2048)

# certificate PROFILE NAME SUBJECT ISSUER KEY-OPTION...: NAME.key and NAME.pem; a self-signed one when ISSUER is empty.
certificate() {
    local profile=$1 name=$2 subject=$3 issuer=$4
    shift 4
    local signer=()
    [[ -n $issuer ]] && signer=(-CA "$issuer.pem" -CAkey "$issuer.key")
    # A positive serial number of at most 18 decimal digits, never 0.
    local serial=$((1 + (RANDOM << 45 | RANDOM << 30 | RANDOM << 15 | RANDOM) % 999999999999999999))
    if ! openssl req -x509 -config "$scratch/profiles.cnf" -extensions "$profile" "$@" -nodes -sha256 -days 90 \
        -set_serial "$serial" -subj "$subject" "${signer[@]}" -keyout "$name.key" -out "$name.pem" \
        2>"$scratch/openssl.log"; then
        cat "$scratch/openssl.log" >&2
        exit 1
    fi
}

pin() {
    printf 'sha256/%s\n' "$(openssl x509 -in "$1.pem" -noout -pubkey | openssl pkey -pubin -outform DER |
        openssl dgst -sha256 -binary | openssl base64 -A)" >"$1.pin"
}

for world in core customer; do
    certificate root "$world/root" "/O=Throw-away $world/CN=Throw-away $world root" "" "${p256[@]}"
    certificate issuing "$world/issuing" "/O=Throw-away $world/CN=Throw-away $world issuing CA" "$world/root" "${p256[@]}"
done
certificate server core/core "/CN=localhost" core/issuing "${p256[@]}"
certificate server customer/auth "/CN=localhost" customer/issuing "${p256[@]}"
certificate kms customer/kms "/CN=$kms_host" customer/issuing "${rsa[@]}"
pin core/core
pin core/issuing
# The key that the core would change to, kept elsewhere: services pin it beside the present one.
openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out core/next.key
printf 'sha256/%s\n' "$(openssl pkey -in core/next.key -pubout -outform DER |
    openssl dgst -sha256 -binary | openssl base64 -A)" >core/next.pin
for leaf in core/core customer/auth customer/kms; do
    cat "${leaf%/*}/issuing.pem" >>"$leaf.pem"
done
