# shellcheck shell=bash disable=SC2154
drill() {
    local root=$nodes/kms-2/root credentials=/etc/hds/credentials
    local unit=$root/etc/systemd/system/hds-kms.service.d/sealed.conf
    without_master_key() {
        mv "$root$credentials/kms-master-key" "$scratch/kms-2-master-key"
        node kms-2 systemctl restart hds-kms 2>/dev/null || true
    }
    down_by_credential() {
        [[ $(node kms-2 systemctl show -P ExecMainStatus hds-kms) == 243 ]] && ! active kms-2 hds-kms
    }
    # sealed ON: the master key, encrypted to that machine.
    sealed() {
        cp "$scratch/kms-2-master-key" "$nodes/$1/root/root/plain"
        node "$1" systemd-creds setup >/dev/null 2>&1 || true
        node "$1" systemd-creds encrypt --with-key=host --name=kms-master-key /root/plain /root/sealed >/dev/null
        mv "$nodes/$1/root/root/sealed" "$scratch/sealed-on-$1"
        rm "$nodes/$1/root/root/plain"
        install -m 600 "$scratch/sealed-on-$1" "$root$credentials/kms-master-key.sealed"
    }
    strike without_master_key
    detected kms-2 "$(with_id HDS-SERVICE-DOWN)"
    becomes 20 down_by_credential || fault "the unit without its master key is not down with 243"
    recovered
    printf '%s\n' '[Service]' 'LoadCredential=' "LoadCredential=kms-static-key:$credentials/kms-static-key.pem" \
        "LoadCredential=kms-client-secret:$credentials/kms-client-secret" \
        "LoadCredential=kms-database-password:$credentials/kms-database-password" \
        "LoadCredentialEncrypted=kms-master-key:$credentials/kms-master-key.sealed" >"$unit"
    sealed kms-3
    node kms-2 systemctl daemon-reload
    node kms-2 systemctl reset-failed hds-kms
    node kms-2 systemctl start hds-kms 2>/dev/null && fault "the unit starts with what was sealed for another machine"
    becomes 20 down_by_credential || fault "the unit with a foreign credential is not down with 243"
    proof kms-2 -u hds-kms _PID=1 -g 'Failed to set up credentials|CREDENTIALS'
    own_again() {
        sealed kms-2
        node kms-2 systemctl reset-failed hds-kms
        node kms-2 systemctl start hds-kms
    }
    mend own_again
    proof kms-2 -u hds-kms "$(with_id HDS-READY)"
    restored
    # As the other drills expect it.
    install -m 600 "$scratch/kms-2-master-key" "$root$credentials/kms-master-key"
    rm "$unit" "$root$credentials/kms-master-key.sealed"
    node kms-2 systemctl daemon-reload
}
