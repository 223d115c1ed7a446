import Diagnostics
import KMSClient
import KMSProtocol
import WireText

// Commands of a compliance officer to the organisation's eDiscovery worker: wholly sealed under a key of the officer's own, which
// the KMS gives to that worker for report requests alone. The cloud sees that an officer asks, and lengths.
extension Spaces {
    /// What the worker answered, and whether it did what was asked (HTTP's numbers).
    package struct WorkerAnswer: Sendable {
        package let status: Int
        /// JSON.
        package let body: String
    }

    /// - Parameters:
    ///   - matter: for which the officer acts; nil for one who is an officer in every matter.
    ///   - body: a JSON object, or nil.
    package func ediscovery(_ command: String, matter: String?, body: String?) async throws -> WorkerAnswer {
        let key = try await reportKey()
        // Once: a command that is sent again is refused, so the caller decides.
        let id = UUIDText.random()
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("type", "command")
        json.member("id", id)
        json.member("time", Timestamp.now().iso8601)
        json.member("command", command)
        json.member("matter", ifPresent: matter)
        if let body {
            json.name("body")
            json.raw(body)
        }
        json.endObject()
        let parts = try await cloud.ediscovery(
            EncryptedText(encrypting: json.text(), under: key.key), keyURI: key.uri)
        var octets: [UInt8] = [], status: Int64 = 0
        for (place, part) in parts.enumerated() {
            let root = try JSONDocument(text: part.text(with: key.key)).root
            guard root["type"]?.string == "answer", root["id"]?.string == id, root["part"]?.integer == Int64(place),
                root["parts"]?.integer == Int64(parts.count), let own = root["status"]?.integer,
                let slice = root["octets"]?.string.flatMap({ Base64URL.decode($0) })
            else { throw CloudError.malformed("an answer to another command") }
            status = own
            octets += slice
        }
        guard !parts.isEmpty else { throw CloudError.malformed("messages") }
        return WorkerAnswer(status: Int(clamping: status), body: String(decoding: octets, as: UTF8.self))
    }

    /// The key for commands: made once, in a resource with nobody else in it.
    private func reportKey() async throws -> KMSKey {
        if let uri = try store.current().reportKey {
            do {
                return try await keys.key(uri)
            } catch let refusal as KMSRefusal where refusal.status == KMSStatus.notFound {
                // It was deleted or erased: another one is as good.
            }
        }
        let key = try await keys.takeUnboundKey()
        try await kms.perform(.createResource(keys: [key.uri], users: [account.id]))
        let bound = try await keys.retrieve(key.uri)
        try store.update { $0.reportKey = bound.uri }
        return bound
    }
}
