import CoreLink
import Diagnostics
import EDiscoveryCollection
import FoundationEssentials
import Glibc
import LinkProtocol
import LinkedService
import SearchProtocol
import WireText

/// Files of messages as the core has them, encrypted by their senders, in a folder of their own: what is deleted later is still
/// there, and collecting fetches nothing.
///
/// Any thread. A file is there whole or not at all: it is written beside its name, synced, and renamed.
struct FileVault: Sendable {
    let folder: String
    /// Octets; larger ones are not kept.
    let largest: Int

    init(folder: String, largest: Int) throws {
        (self.folder, self.largest) = (folder, largest)
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw Self.failure("made", folder) }
    }

    func path(of id: String) -> String { folder + "/" + id }

    func has(_ id: String) -> Bool { access(path(of: id), R_OK) == 0 }

    /// What was left by a process that ended, or belongs to no message any more.
    ///
    /// - Parameter isStart: nothing is being fetched.
    func sweep(isStart: Bool = true, unknown: ([String]) throws -> [String]) throws {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        for name in names where isStart && name.hasSuffix(".part") { unlink(path(of: name)) }
        for name in try unknown(names.filter { !$0.hasSuffix(".part") }) { unlink(path(of: name)) }
    }

    func remove(_ ids: [String]) { for id in ids { unlink(path(of: id)) } }

    /// Takes the parts until nil, from the beginning on.
    func store(_ id: String, _ next: (_ offset: UInt64) async throws -> [UInt8]?) async throws {
        let part = path(of: id) + ".part"
        let file = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw Self.failure("made", part) }
        defer { close(file) }
        var offset: UInt64 = 0
        while let octets = try await next(offset) {
            var rest = octets[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
                guard count > 0 || errno == EINTR else { throw Self.failure("written", part) }
                rest = rest.dropFirst(max(0, count))
            }
            offset += UInt64(octets.count)
        }
        guard fsync(file) == 0, rename(part, path(of: id)) == 0 else { throw Self.failure("kept", part) }
    }

    /// The octets piece by piece; false when there is no such file.
    func read(_ id: String, _ take: ([UInt8]) throws -> Void) throws -> Bool {
        let file = open(path(of: id), O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        while true {
            let octets = [UInt8](unsafeUninitializedCapacity: 1 << 18) { buffer, count in
                count = max(0, Glibc.read(file, buffer.baseAddress, buffer.count))
            }
            guard !octets.isEmpty else { return true }
            try take(octets)
        }
    }

    private static func failure(_ what: String, _ path: String) -> DiagnosedError {
        let reason = String(cString: strerror(errno))
        return DiagnosedError(
            .mirror, fault: .store, "a file of a message can not be \(what)", found: "\(path): \(reason)",
            hint: "check that the folder beside mirror.database belongs to the service and has space")
    }
}

/// What the worker asks of the core itself.
protocol CoreAsking: Sendable {
    /// Octets of a shared file from a place on, empty at its end, nil when there is no such file; and its size.
    func part(of file: String, in space: String, from offset: UInt64) async throws -> (octets: [UInt8]?, size: UInt64)
    /// Has the core delete a message as if its time was over.
    func remove(_ message: String, in space: String) async throws
}

struct CoreContent: CoreAsking {
    let links: LinkHolder
    private static let patience = Duration.seconds(20)

    func part(of file: String, in space: String, from offset: UInt64) async throws -> (octets: [UInt8]?, size: UInt64) {
        guard case .part(let octets, let size) = try await call(.file(.init(room: space, file: file, offset: offset)))
        else { throw Self.away("an answer to something else") }
        return (octets, size)
    }

    func remove(_ message: String, in space: String) async throws {
        guard case .stored = try await call(.remove(.init(room: space, id: message))) else {
            throw Self.away("an answer to something else")
        }
    }

    private func call(_ call: SearchCall) async throws -> SearchCall.Reply {
        switch await links.link?.call(SearchCall.destination, text: call.encode(), within: Self.patience) {
        case .answered(let octets)?:
            switch try SearchCall.Reply(decoding: octets) {
            case .refused(let reason): throw Self.away(String(reason.prefix(200)))
            case .unavailable(let reason): throw Self.away(String(reason.prefix(200)))
            case let reply: return reply
            }
        case .refused(let reason)?: throw Self.away(reason.rawValue)
        case nil: throw Self.away("no link to the core")
        }
    }

    private static func away(_ found: String) -> DiagnosedError {
        DiagnosedError(
            "core-content", fault: .peer, "the core does not give or delete content at present", found: found,
            hint: "see the check link; the core may be of an older release")
    }
}

/// Fetches the files of messages as they are told of. One that the core does not have is noted, and never asked for again.
struct FileFetching: Sendable {
    let mirror: Mirror
    let vault: FileVault
    let core: any CoreAsking

    /// Some files; true when there was something to do. Throws what passes.
    func work() async throws -> Bool {
        let wanted = try mirror.wantedFiles(limit: 20)
        for file in wanted { try await fetch(file.id, of: file.place) }
        return !wanted.isEmpty
    }

    func fetch(_ id: String, of place: FilePlace) async throws {
        if vault.has(id) { return try mirror.note(.kept, of: id) }
        let (first, size) = try await core.part(of: id, in: place.message.space, from: 0)
        guard let first else { return try mirror.note(.missing, of: id) }
        guard size <= UInt64(vault.largest) else { return try mirror.note(.tooLarge, of: id) }
        try await vault.store(id) { offset in
            guard offset < size else { return nil }
            if offset == 0, !first.isEmpty { return first }
            let octets = try await core.part(of: id, in: place.message.space, from: offset).octets ?? []
            // It was cut off or deleted meanwhile: what there is shows itself at opening.
            return octets.isEmpty ? nil : octets
        }
        try mirror.note(.kept, of: id)
    }
}
