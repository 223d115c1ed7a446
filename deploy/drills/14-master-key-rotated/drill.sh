# shellcheck shell=bash disable=SC2154
drill() {
    local kills=0 certificate fingerprint
    rotation() { hdsctl kms-1 master-key status --json; }
    in_state() { rotation | grep -q "\"state\":\"$1\""; }
    answers() { hdsctl kms-1 master-key status; }
    # killed_while COMMAND...: the step is given and the service killed in the middle of it.
    killed_while() {
        local old pause
        for pause in 0.02 0.1; do
            old=$(main_pid kms-1 hds-kms)
            hdsctl kms-1 master-key "$@" >/dev/null 2>&1 &
            sleep "$pause"
            node kms-1 kill -KILL "$old" || true
            wait $! || true
            kills=$((kills + 1))
            becomes 150 new_process kms-1 hds-kms "$old" || fault "hds-kms does not come back while $1"
            becomes 150 answers || fault "hds-kms does not answer after it was killed while $1"
            becomes 150 ready kms-1 || fault "kms-1 is not ready after it was killed while $1"
        done
    }
    strike
    killed_while generate
    detected kms-1 -u hds-kms _PID=1 -g 'status=9/KILL'
    recovered
    in_state inert || hdsctl kms-1 master-key generate >/dev/null
    killed_while stage
    hdsctl kms-1 master-key stage --timeout 60 >/dev/null || fault "the new version is not proved: $(rotation)"
    killed_while promote
    if in_state inert; then
        hdsctl kms-1 master-key promote >/dev/null || fault "the new version can not be promoted: $(rotation)"
    fi
    proof kms-1 -u hds-kms "$(with_id HDS-MASTERKEY-ROTATION-RUNNING)"
    killed_while status
    mend
    becomes 120 in_state retired || fault "the old version does not retire: $(rotation)"
    certified() { hdsctl kms-1 master-key certificate >"$nodes/kms-1/root/root/rotation.json" 2>/dev/null; }
    becomes 60 certified || fault "there is no certificate"
    fingerprint=$(hdsctl kms-1 attestation-key fingerprint /var/lib/hds-kms/attestation.key)
    certificate=$(hdsctl kms-1 master-key verify-certificate /root/rotation.json --key "$fingerprint") ||
        fault "the certificate is not right: $certificate"
    [[ $certificate == *'values under the old version: 0'* ]] || fault "the certificate says something else: $certificate"
    figure kills "$kills"
    restored
}
