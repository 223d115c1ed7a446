# shellcheck shell=bash disable=SC2154
drill() {
    local made=$scratch/pin
    mkdir -p "$made"
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$made/other.key"
    core_certificate "$made/other.key" "$made/other.pem" '90 days'
    core_certificate "$scratch/domain/pki/core/next.key" "$made/next.pem" '90 days'
    core_shows() {
        give core "$1" credentials/core-tls-key.pem 600
        give core "$2" core.pem
        node core systemctl restart hds-core
    }
    strike core_shows "$made/other.key" "$made/other.pem"
    detected kms-1 -u hds-kms "$(with_id HDS-CLOUD-PIN-MISMATCH)"
    hold 3
    if ready kms-1; then fault "kms-1 is ready at a core that it did not pin"; fi
    mend core_shows "$scratch/domain/pki/core/next.key" "$made/next.pem"
    proof kms-1 -u hds-kms "$(with_id HDS-LINK-UP)"
    recovered
    restored
}
