import Glibc

/// Who is at the other end of a unix socket, as the kernel says it of the moment when the peer connected.
package struct PeerCredentials: Sendable, Equatable {
    package let pid: Int32
    package let uid: UInt32
    package let gid: UInt32
    /// Supplementary groups, from the kernel as well: a look into /proc could meet another process of the same number.
    package let groups: [UInt32]

    package init(pid: Int32, uid: UInt32, gid: UInt32, groups: [UInt32]) {
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.groups = groups
    }

    /// Of `asm-generic/socket.h`, for glibc does not hand it on to Swift.
    private static let peerGroups: Int32 = 59

    /// Nil when the kernel does not tell.
    init?(of descriptor: Int32) {
        // `struct ucred`, which glibc keeps from Swift as well.
        var credentials: (pid: Int32, uid: UInt32, gid: UInt32) = (0, .max, .max)
        var size = socklen_t(MemoryLayout.size(ofValue: credentials))
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 else { return nil }
        var groups = [UInt32](repeating: 0, count: 65_536)
        var bytes = socklen_t(groups.count * MemoryLayout<UInt32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, Self.peerGroups, &groups, &bytes) == 0 else { return nil }
        self.init(
            pid: credentials.pid, uid: credentials.uid, gid: credentials.gid,
            groups: Array(groups.prefix(Int(bytes) / MemoryLayout<UInt32>.size)))
    }
}

/// Who may use a control socket: root, the service's own user, and the members of one group.
package struct ControlAccess: Sendable, Equatable {
    package let uids: Set<UInt32>
    package let group: UInt32?

    package init(uids: Set<UInt32> = [0, geteuid()], group: UInt32? = nil) {
        self.uids = uids
        self.group = group
    }

    package func allows(_ peer: PeerCredentials) -> Bool {
        uids.contains(peer.uid) || group.map { peer.gid == $0 || peer.groups.contains($0) } ?? false
    }
}
