# shellcheck shell=bash disable=SC2154
# Disks of virtual machines as files, made without mounting anything, the same octets again. Sourced; needs terminal.sh,
# $scratch and SOURCE_DATE_EPOCH; packages dosfstools, mtools, e2fsprogs, fdisk.

# fat FILE LABEL MEBIBYTES: an empty file system whose times and number are fixed.
fat() {
    rm -f "$1"
    truncate -s "${3}M" "$1"
    mkfs.vfat -F 32 --invariant -i 48445331 -n "$2" -S 512 -s 1 "$1" >/dev/null
}
# into FILE SOURCE TARGET: a file into such a file system.
into() { TZ=UTC MTOOLS_SKIP_CHECK=1 mcopy -m -o -i "$1" "$2" "::$3"; }
# folder FILE NAME: a new one; mtools takes its time from SOURCE_DATE_EPOCH.
folder() { TZ=UTC MTOOLS_SKIP_CHECK=1 mmd -i "$1" "::$2"; }

# seed_disk FILE USER-DATA: what cloud-init reads at the first boot (NoCloud).
seed_disk() {
    local made
    made=$(mktemp -d "$scratch/seed.XXXXXX")
    printf 'instance-id: hds-1\nlocal-hostname: hds\n' >"$made/meta-data"
    cp "$2" "$made/user-data"
    touch -d "@$SOURCE_DATE_EPOCH" "$made"/*
    fat "$1" CIDATA 34
    into "$1" "$made/meta-data" meta-data
    into "$1" "$made/user-data" user-data
}

# package_disk FILE DIR: our packages and their sums.
package_disk() {
    local made file
    made=$(mktemp -d "$scratch/packages.XXXXXX")
    cp "$2"/hds-common_*.deb "$2"/hds-appliance_*.deb "$made/"
    (cd "$made" && sha256sum ./*.deb >SHA256SUMS)
    touch -d "@$SOURCE_DATE_EPOCH" "$made"/*
    fat "$1" HDS-PKGS $(($(du -sm "$made" | cut -f 1) + 40))
    for file in "$made"/*; do into "$1" "$file" "${file##*/}"; done
}

# boot_disk FILE TREE KERNEL-OPTIONS: a disk for UEFI: systemd-boot, the tree's kernel, and the tree as its root.
boot_disk() {
    local disk=$1 tree=$2 made kernel version root_size
    made=$(mktemp -d "$scratch/disk.XXXXXX")
    kernel=$(echo "$tree"/boot/vmlinuz-*)
    version=${kernel##*/vmlinuz-}
    [[ -e $kernel && -e $tree/boot/initrd.img-$version ]] || return
    printf 'title Hybrid Data Security appliance\nlinux /hds/%s/linux\ninitrd /hds/%s/initrd.img\noptions %s\n' \
        "$version" "$version" "$3" >"$made/entry.conf"
    printf 'default hds-*\ntimeout 1\neditor no\n' >"$made/loader.conf"
    touch -d "@$SOURCE_DATE_EPOCH" "$made"/*
    fat "$made/efi" HDS-EFI 256
    for name in EFI EFI/BOOT EFI/systemd loader loader/entries hds "hds/$version"; do folder "$made/efi" "$name"; done
    into "$made/efi" "$tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" EFI/BOOT/BOOTX64.EFI
    into "$made/efi" "$tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" EFI/systemd/systemd-bootx64.efi
    into "$made/efi" "$made/loader.conf" loader/loader.conf
    into "$made/efi" "$made/entry.conf" "loader/entries/hds-$version.conf"
    into "$made/efi" "$kernel" "hds/$version/linux"
    into "$made/efi" "$tree/boot/initrd.img-$version" "hds/$version/initrd.img"

    # Room for logs and a key store; cloud-init makes the file system as large as the disk.
    root_size=$(($(du -sm "$tree" | cut -f 1) + 1024))
    truncate -s "${root_size}M" "$made/root"
    E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH mke2fs -q -t ext4 -L hds-root -U 48445331-0000-4000-8000-000000000001 \
        -E hash_seed=48445331-0000-4000-8000-000000000002,lazy_itable_init=0,lazy_journal_init=0 \
        -d "$tree" "$made/root" || return

    rm -f "$disk"
    truncate -s "$((root_size + 256 + 4))M" "$disk"
    sfdisk --quiet "$disk" <<END || return
label: gpt
label-id: 48445331-0000-4000-8000-000000000003
first-lba: 2048
start=2048, size=$((256 * 2048)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=48445331-0000-4000-8000-000000000004, name=efi
start=$((2048 + 256 * 2048)), size=$((root_size * 2048)), type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=48445331-0000-4000-8000-000000000005, name=root
END
    dd if="$made/efi" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
    dd if="$made/root" of="$disk" bs=1M seek=257 conv=notrunc,sparse status=none
    rm -r "$made"
}
