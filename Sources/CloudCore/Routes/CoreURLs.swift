import WireText

/// The URLs of the core's objects, made and read in one place.
struct CoreURLs: Sendable {
    let base: String

    var encryption: String { base + "/encryption/api/v1" }
    var devices: String { base + "/devices" }
    var conversations: String { base + "/conversations" }
    var files: String { base + "/files" }
    var directory: String { base + "/directory" }
    var search: String { base + "/search" }
    var previews: String { base + "/previews" }
    var ediscovery: String { base + "/ediscovery" }
    var calendar: String { base + "/calendar" }
    var meetings: String { base + "/meetings" }
    var presence: String { base + "/presence" }

    func device(_ id: String) -> String { devices + "/" + id }
    func webSocket(ofDevice id: String) -> String {
        let scheme = base.hasPrefix("https:") ? "wss:" : "ws:"
        return scheme + base.drop { $0 != ":" }.dropFirst() + Self.eventsPath + id
    }
    func conversation(_ id: String) -> String { conversations + "/" + id }
    func file(_ id: FileID) -> String { files + "/" + id.text }

    /// The id in a device URL of this core.
    func deviceID(in url: String) -> String? { id(in: url, after: devices + "/") }
    /// The id in a download URL of this core.
    func fileID(in url: String) -> FileID? { id(in: url, after: files + "/").flatMap { FileID($0) } }

    private func id(in url: String, after prefix: String) -> String? {
        guard url.hasPrefix(prefix) else { return nil }
        let id = url.dropFirst(prefix.count)
        return UUIDText.isValid(id) ? id.lowercased() : nil
    }

    static let eventsPath = "/events/"
    static let linkPath = "/link/v1"
}
