package import Diagnostics
import Glibc

extension ControlAccess {
    /// Also lets a group of this machine in, by its name.
    package static func alsoGroup(_ name: String) throws(DiagnosedError) -> ControlAccess {
        var entry = Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        var buffer = [CChar](repeating: 0, count: 1 << 16)
        let status = getgrnam_r(name, &entry, &buffer, buffer.count, &found)
        guard status == 0, found != nil else {
            throw DiagnosedError(
                .controlSocket, fault: .configuration, "control.group names a group that this machine does not have",
                found: name.quotedForError,
                hint: "make it (groupadd --system \(name)), or take the key out: then root and the service's user ask")
        }
        return ControlAccess(group: entry.gr_gid)
    }
}
