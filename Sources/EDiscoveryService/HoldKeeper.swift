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
            let log = try mirror.log(of: space, under: key)
            let covered = log.messages.filter { message in standing.contains { $0.covers(message, in: log) } }
            let wanted = try await resources(of: covered)
            let present = try mirror.heldResources(of: space)
            for resource in wanted.subtracting(present).sorted() {
                let hold = standing.first { hold in covered.contains { hold.covers($0, in: log) } }
                try await kms.perform(
                    .createHold(resource: resource, reason: "hold \(hold?.id ?? "")"), on: nil)
                try mirror.noteHeld(resource, of: space, true)
            }
            for resource in present.subtracting(wanted).sorted() where covered.isEmpty {
                try await kms.perform(.deleteHold(resource: resource), on: nil)
                try mirror.noteHeld(resource, of: space, false)
            }
            await Task.yield()
        }
        try mirror.set("held", String(last))
        try mirror.set("holds", version)
    }

    private func resources(of messages: [SpaceLog.Message]) async throws -> Set<String> {
        var found = Set<String>()
        for uri in Set(messages.flatMap { [$0.keyURI] + $0.edits.map(\.text.keyURI) }) where !uri.isEmpty {
            if resources.count >= 100_000 { resources = [:] }
            if resources[uri] == nil { resources[uri] = .some(try await resource(of: uri)) }
            if let resource = resources[uri] ?? nil { found.insert(resource) }
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
