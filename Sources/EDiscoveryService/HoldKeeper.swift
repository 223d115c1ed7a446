import Cryptography
import Diagnostics
import EDiscoveryCollection
import KMSClient
import KMSProtocol
import LinkedService
import WireText

/// Has the KMS keep the keys of every space in which something is held, so that no erasure at the KMS destroys what a hold protects
/// here; lets them go when nothing in the space is held any more.
///
/// Which resource a space's keys are of says the KMS, for the keys of the held messages, never the core.
actor HoldKeeper {
    private let consent: Consent
    private let kms: any KMSAsking
    private let mirror: Mirror
    private var resources: [String: String?] = [:]

    init(consent: Consent, kms: any KMSAsking, mirror: Mirror) {
        (self.consent, self.kms, self.mirror) = (consent, kms, mirror)
    }

    /// Looks at the spaces with new events, or at all when holds changed; throws what is in the way.
    func work() async throws {
        let key = try await consent.sealingKey()
        let documents = try mirror.documents("hold", under: key)
        let standing = try documents.map { try LegalHold($0.root) }.filter { $0.released == nil }
        let version = Hexadecimal.encode(
            SHA256.hash(Array(documents.map(\.root.rawText).joined(separator: "\n").utf8)))
        let isChanged = try mirror.setting("holds") != version
        let last = try mirror.last()
        let position = try mirror.setting("held").flatMap { Int64($0) } ?? 0
        guard isChanged || (last > position && !standing.isEmpty) else { return }
        for space in try mirror.spaces(changedAfter: isChanged ? 0 : position, until: last) {
            // Keys of what is held, each with the first hold that covers it.
            var covered: [String: String] = [:]
            try mirror.eachPage(of: space, under: key) { log in
                for message in log.messages {
                    guard let hold = standing.first(where: { $0.covers(message, in: log) }) else { continue }
                    for uri in [message.keyURI] + message.edits.map(\.text.keyURI) {
                        covered[uri] = covered[uri] ?? hold.id
                    }
                }
            }
            let wanted = try await resources(of: covered)
            let present = try mirror.heldResources(of: space)
            for (resource, hold) in wanted.sorted(by: { $0.key < $1.key }) where !present.contains(resource) {
                try await kms.perform(.createHold(resource: resource, reason: "hold \(hold)"), on: nil)
                try mirror.noteHeld(resource, of: space, true)
            }
            for resource in present.subtracting(wanted.keys).sorted() where covered.isEmpty {
                try await kms.perform(.deleteHold(resource: resource), on: nil)
                try mirror.noteHeld(resource, of: space, false)
            }
            await Task.yield()
        }
        try mirror.set("held", String(last))
        try mirror.set("holds", version)
    }

    /// Resources of keys, each with a hold of one of its keys.
    private func resources(of keys: [String: String]) async throws -> [String: String] {
        var found: [String: String] = [:]
        for (uri, hold) in keys where !uri.isEmpty {
            if resources.count >= 100_000 { resources = [:] }
            if resources[uri] == nil { resources[uri] = .some(try await resource(of: uri)) }
            if let resource = resources[uri] ?? nil { found[resource] = min(hold, found[resource] ?? hold) }
        }
        return found
    }

    /// Nil when the KMS does not give the key to the service, or does not have it: then nobody destroys it here either.
    private func resource(of uri: String) async throws -> String? {
        do {
            guard case .key(let key) = try await kms.perform(.useKey(uri, .content), on: nil).body else { return nil }
            return key.resourceURI
        } catch let refusal as KMSRefusal
            where [KMSStatus.notFound, KMSStatus.notImplemented].contains(refusal.status)
        {
            return nil
        }
    }
}
