# shellcheck shell=bash disable=SC2154
drill() {
    local old
    old=$(main_pid kms-1 hds-kms)
    strike node kms-1 kill -STOP "$old"
    detected core "$(with_id HDS-CORE-LINK-ENDED)" NODE=kms-1
    recovered
    mend
    proof kms-1 -u hds-kms _PID=1 -g 'Watchdog timeout'
    proof kms-1 -u hds-kms "$(with_id HDS-READY)"
    restored
    new_process kms-1 hds-kms "$old" || fault "hds-kms is not a new process"
}
