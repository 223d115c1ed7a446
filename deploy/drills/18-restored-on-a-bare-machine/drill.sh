# shellcheck shell=bash disable=SC2154,SC2034
drill() {
    local root=$nodes/kms-1/root file host told saved=$scratch/saved
    officers kms-1
    # The words go through a pipe; each holder writes his down.
    node kms-1 sh -c 'hdsctl escrow create --shares 3 --needed 2 --words-fd 3 --officer-key /root/ada.pem \
        --passphrase-file /root/passphrase 3>&1 >/dev/null 2>/root/escrow.log | cat' >"$scratch/words" ||
        fault "no escrow: $(cat "$root/root/escrow.log")"
    [[ $(wc -l <"$scratch/words") == 3 ]] || fault "there are not three shares: $(cat "$root/root/escrow.log")"
    strike desk cut kms-1,kms-2,kms-3 core
    detected core "$(with_id HDS-CORE-LINK-ENDED)" NODE=kms-1
    file=$(hdsctl kms-1 backup | head -n 1) || fault "no backup"
    mkdir -p "$saved/removals"
    cp "$root${file%.*}".* "$saved/"
    for host in "${kms_nodes[@]}"; do cp "$nodes/$host/root/var/lib/hds-kms/removals"/* "$saved/removals/"; done
    for host in "${kms_nodes[@]}" "${databases[@]}"; do node_remove "$host"; done
    start=$(now)
    machine spare
    node spare sh -c 'dpkg -i /srv/packages/hds-common_*.deb /srv/packages/hds-appliance_*.deb' >"$scratch/spare.log" 2>&1 || fault "the packages are not installed"
    kms_files spare
    cp -r "$saved" "$nodes/spare/root/root/saved"
    cp "$scratch/words" "$nodes/spare/root/root/words"
    told=$(node spare sh -c "sed -n '3p;1p' /root/words | hdsctl escrow recover /root/saved/${file##*/} --words-fd 0 \
        --to /var/lib/hds-kms/kms.sqlite --new-master-key /etc/hds/credentials/kms-master-key \
        --journal /root/saved/removals" 2>&1) || fault "nothing is recovered: $told"
    [[ $told == *'is whole and frozen'* ]] || fault "the restore says something else: $told"
    rm "$nodes/spare/root/root/words"
    node spare chown -R hds-kms:hds-kms /var/lib/hds-kms
    desk heal
    node spare systemctl enable --now --quiet hds-kms || fault "hds-kms does not start: $(state spare)"
    becomes 150 ready spare || fault "the new machine is not ready: $(state spare)"
    officers spare
    told=$(node spare hdsctl restore open --officer-key /root/ada.pem --passphrase-file /root/passphrase 2>&1) ||
        fault "an officer can not open it: $told"
    proof spare -u hds-kms "$(with_id HDS-READY)"
    figure bareMachineToOpenMilliseconds $((($(now) - start) / 1000000))
    recovered
    mend
    present_nodes=(spare)
    restored
}
