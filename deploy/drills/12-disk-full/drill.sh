# shellcheck shell=bash disable=SC2154
drill() {
    local folder=/var/lib/hds-kms
    small_disk kms-1 "$folder"
    becomes 150 whole || fault "kms-1 is not ready on its small disk"
    strike node kms-1 sh -c "dd if=/dev/zero of=$folder/filler bs=64k 2>/dev/null; dd if=/dev/zero of=$folder/filler-2 bs=1 count=8192 2>/dev/null; true"
    detected kms-1 -u hds-kms "$(with_id HDS-AUDIT-BLOCKED)"
    recovered
    mend node kms-1 rm -f "$folder/filler" "$folder/filler-2"
    proof kms-1 -u hds-kms "$(with_id HDS-ALARM-CLEARED)"
    restored
    own_disk kms-1 "$folder"
    becomes 150 whole || fault "kms-1 is not ready on its own disk"
}
