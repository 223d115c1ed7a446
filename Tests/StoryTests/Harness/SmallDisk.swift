import Glibc
import Testing

/// A file system of its own, so small that it can be filled.
struct SmallDisk {
    let folder: String
    private var ballast: String { folder + "/ballast" }

    /// nil: this process may not mount.
    init?(megabytes: Int = 160) {
        guard let made = MountPoint.make() else { return nil }
        folder = made
        guard mount("tmpfs", folder, "tmpfs", 0, "size=\(megabytes)m,mode=0711") == 0 else {
            rmdir(folder)
            return nil
        }
    }

    func remove() { MountPoint.remove(folder) }

    func fill() throws {
        let descriptor = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        for size in [1 << 20, 1 << 12] {
            let piece = [UInt8](repeating: 1, count: size)
            while write(descriptor, piece, size) == size {}
        }
        try #require(errno == ENOSPC)
    }

    func makeRoom() { unlink(ballast) }
}

/// An ext4 file system on a loop device that becomes read-only at its first error, as such file systems are mounted.
struct FailingDisk {
    let folder: String
    private let device: String
    private var image: String { folder + ".image" }

    /// nil: this process may not mount one here.
    static func make() async -> FailingDisk? {
        guard let folder = MountPoint.make() else { return nil }
        let image = folder + ".image"
        let made = try? await ChildProcess.run(
            "/bin/bash",
            [
                "-c",
                """
                set -eu; PATH=$PATH:/usr/sbin:/sbin
                truncate -s 128M "$1"; mkfs.ext4 -q -O ^has_journal -m 0 "$1"
                mount -o loop,errors=remount-ro "$1" "$0"; chmod 711 "$0"
                device=$(basename "$(findmnt -no SOURCE "$0")")
                [ -w "/sys/fs/ext4/$device/trigger_fs_error" ] || { umount "$0"; exit 1; }
                echo "$device"
                """, folder, image,
            ], folder: "/tmp")
        guard let made else {
            rmdir(folder)
            unlink(image)
            return nil
        }
        return FailingDisk(folder: folder, device: made.filter { !$0.isWhitespace })
    }

    /// The kernel finds an error: from now on every write fails with EROFS, also through files that are open.
    func fail() throws {
        let descriptor = open("/sys/fs/ext4/\(device)/trigger_fs_error", O_WRONLY | O_CLOEXEC)
        defer { close(descriptor) }
        try #require(descriptor >= 0 && write(descriptor, "1", 1) == 1)
    }

    /// What an administrator does: checked and mounted again. Nobody may have a file open on it.
    func repair() async throws {
        try await ChildProcess.run(
            "/bin/bash",
            [
                "-c",
                """
                set -eu; PATH=$PATH:/usr/sbin:/sbin
                umount "$0"
                e2fsck -fp "$1" || [ $? -le 1 ]
                mount -o loop,errors=remount-ro "$1" "$0"
                """, folder, image,
            ], folder: "/tmp")
    }

    func remove() {
        MountPoint.remove(folder)
        unlink(image)
    }
}

private enum MountPoint {
    static func make() -> String? {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((base + "/hds-disk-XXXXXX").utf8CString)
        return mkdtemp(&template).map { String(cString: $0) }
    }

    static func remove(_ folder: String) {
        umount2(folder, 2)  // As soon as nobody uses it.
        rmdir(folder)
    }
}
