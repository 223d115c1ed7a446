# shellcheck shell=bash disable=SC2154
drill() {
    local unit=$nodes/kms-3/root/etc/systemd/system/hds-kms.service.d/clock.conf library
    library=$(cd "$nodes/layers/database" && find usr/lib -name libfaketime.so.1 | head -n 1)
    install -D -m 755 "$nodes/layers/database/$library" "$nodes/kms-3/root/usr/lib/libfaketime.so.1"
    printf '%s\n' '[Service]' 'Environment=LD_PRELOAD=/usr/lib/libfaketime.so.1 FAKETIME=+1h' \
        'Environment=DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_RESET=1 FAKETIME_DISABLE_SHM=1' >"$unit"
    node kms-3 systemctl daemon-reload
    wrong_clock() { node kms-3 systemctl restart --no-block hds-kms || true; }
    strike wrong_clock
    detected kms-3 -u hds-kms "$(with_id HDS-CLOCK-SKEW)"
    recovered
    hold 5
    right_clock() {
        rm "$unit"
        node kms-3 systemctl daemon-reload
        node kms-3 systemctl restart --no-block hds-kms
    }
    mend right_clock
    proof kms-3 -u hds-kms "$(with_id HDS-READY)"
    restored
}
