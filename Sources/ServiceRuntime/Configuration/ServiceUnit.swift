package import Glibc

/// What the unit of a service says of its user and its credentials: `User=`, `LoadCredential=` and
/// `LoadCredentialEncrypted=` of the unit file and its drop-ins (systemd.exec(5)), read as files, for an administrator's
/// tool that is no unit itself.
package struct ServiceUnit: Sendable {
    package struct Source: Sendable, Hashable {
        /// As the unit says it, below the root that was given.
        package let path: String
        package let isEncrypted: Bool
    }

    package let unit: String
    /// Nil: the one that starts it.
    package let user: String?
    /// By the name of the credential.
    package let sources: [String: Source]
    /// Whether there is such a unit at all.
    package let isInstalled: Bool

    /// Where units lie; what comes first hides files of the same name.
    private static let folders = [
        "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
        "/lib/systemd/system",
    ]

    /// - Parameter root: the folder that is `/` for the unit; empty for this machine.
    package init(unit: String, root: String = "") {
        self.unit = unit
        let folders = Self.folders.map { root + $0 }
        let main: String? = folders.map { (folder: String) -> String in "\(folder)/\(unit)" }.first {
            access($0, R_OK) == 0
        }
        isInstalled = main != nil
        // Drop-ins of all folders in the order of their names.
        var dropIns: [String: String] = [:]
        for folder in folders {
            for name in FolderListing.names(in: "\(folder)/\(unit).d") where name.hasSuffix(".conf") {
                if dropIns[name] == nil { dropIns[name] = "\(folder)/\(unit).d/\(name)" }
            }
        }
        var sources: [String: Source] = [:]
        var user: String?
        for path in [main].compactMap({ $0 }) + dropIns.sorted(by: { $0.key < $1.key }).map(\.value) {
            guard let text = try? FileLocation(path).text() else { continue }
            Self.read(text, root: root, &sources, &user)
        }
        self.sources = sources
        self.user = user
    }

    /// The number of its user on this machine; nil when it has none, or the machine does not know it.
    package var userID: uid_t? { user.flatMap { getpwnam($0)?.pointee.pw_uid } }

    private static func read(
        _ text: String, root: String, _ sources: inout [String: Source], _ user: inout String?
    ) {
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            if parts[0] == "User" { user = parts[1].isEmpty ? nil : String(parts[1]) }
            guard parts[0] == "LoadCredential" || parts[0] == "LoadCredentialEncrypted" else { continue }
            // An empty one takes back what stood before it.
            guard !parts[1].isEmpty else {
                sources = [:]
                continue
            }
            let pair = parts[1].split(separator: ":", maxSplits: 1)
            guard pair.count == 2 else { continue }
            sources[String(pair[0])] = Source(
                path: root + pair[1], isEncrypted: parts[0] == "LoadCredentialEncrypted")
        }
    }
}

/// The names in a folder, without dots, sorted; empty where there is none.
package enum FolderListing {
    package static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }
}
