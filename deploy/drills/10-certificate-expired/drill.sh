# shellcheck shell=bash disable=SC2154
drill() {
    local key=$nodes/core/root/etc/hds/credentials/core-tls-key.pem made=$scratch/certificate end
    mkdir -p "$made"
    core_certificate "$key" "$made/short.pem" '30 seconds'
    end=$(($(date +%s) + 30))
    give core "$made/short.pem" core.pem
    node core systemctl reload hds-core
    becomes 20 alarm core HDS-CERT-EXPIRY || fault "no HDS-CERT-EXPIRY at the core before its certificate ends"
    figure warnedSecondsBefore $((end - $(date +%s)))
    hold $((end + 1 - $(date +%s)))
    strike desk cut kms-1,kms-2,kms-3 core
    proof kms-1 -u hds-kms "$(with_id HDS-LINK-DOWN)"
    desk heal
    detected kms-1 -u hds-kms -g 'expired'
    core_certificate "$key" "$made/new.pem" '90 days'
    renew() {
        give core "$made/new.pem" core.pem
        node core systemctl reload hds-core
    }
    mend renew
    proof core -u hds-core "$(with_id HDS-RELOADED)"
    proof kms-1 -u hds-kms "$(with_id HDS-LINK-UP)"
    recovered
    restored
    if alarm core HDS-CERT-EXPIRY; then fault "HDS-CERT-EXPIRY stands with the new certificate"; fi
}
