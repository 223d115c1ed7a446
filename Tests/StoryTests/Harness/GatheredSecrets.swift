import Diagnostics
import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import SecretMemory
import WireText

extension Deployment {
    /// Everything that the programs and clients have written, without the files whose purpose is to hold a secret.
    func writtenFiles() -> [String] {
        let own: Set = ["kms/master-key", "kms/client-secret"].reduce(into: Set<String>()) {
            $0.insert(domain.path($1))
        }
        return SecretSearch.files(below: domain.folder).filter {
            !own.contains($0) && !$0.hasSuffix(".password") && !$0.hasPrefix(domain.path("pki/"))
                && !$0.hasPrefix(domain.path("given/"))
        }
    }

    /// Every secret that a run of the story made: of the people, their sessions and keys, and of the services.
    func secrets(of people: [Person], keeping gathered: inout GatheredSecrets) throws -> SecretSearch {
        for person in people { try gathered.gather(person) }
        var search = SecretSearch()
        for name in ["alice", "bob"] { search.add("password of \(name)", domain.password(of: name)) }
        search.add("master key", try bytes(base64URL: domain.masterKeyText()))
        let clientSecret = try domain.read("kms/client-secret").trimmingCharacters(in: .whitespacesAndNewlines)
        search.add("client secret", clientSecret)
        for (label, token) in gathered.tokens { search.add(token: label, token) }
        for (label, key) in gathered.keys { search.add(label, key) }
        return search
    }

    private func bytes(base64URL text: String) throws -> [UInt8] {
        guard let bytes = Base64URL.decode(text), bytes.count == 32 else {
            throw NotInTime(what: "the master key in its file", limit: .zero, seen: nil)
        }
        return bytes
    }
}

/// What the clients held at any time; gathered again and again, for keys and tokens change.
struct GatheredSecrets {
    private(set) var tokens: [String: String] = [:]
    private(set) var keys: [String: [UInt8]] = [:]

    mutating func gather(_ person: Person) throws {
        let state = try person.store.current()
        if let held = state.tokens {
            for (name, token) in [
                ("cloud token", held.cloud), ("KMS token", held.kms), ("refresh token", held.refresh),
            ] {
                guard let text = token?.reveal({ $0 }) else { continue }
                tokens["\(name) of \(person.name) \(text.suffix(6).hashValue)"] = text
            }
        }
        if let session = state.session {
            var json = JSONWriter()
            session.write(to: &json)
            let key = try JSONDocument(json.bytes()).root["key"]?.string.flatMap { Base64URL.decode($0) }
            keys["session key \(session.uri)"] = key
        }
        for key in Array(state.keys.values) + state.unboundKeys {
            keys["content key \(key.uri)"] = key.key.withUnsafeBytes { Array($0) }
        }
    }
}
