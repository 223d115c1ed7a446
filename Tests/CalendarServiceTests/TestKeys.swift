import Diagnostics
import KMSClient
import KMSProtocol
import SecretMemory
import Synchronization
import WireText

@testable import CalendarService
import Cryptography

/// A KMS in memory, for what the connector asks of one: keys by their URIs, bound to resources, and the sealing key. The real one
/// answers in StoryTests.
final class TestKeys: KMSAsking {
    private struct State {
        var keys: [String: (key: SymmetricKey, resource: String?)] = [:]
        var lists: [String: [String]] = [:]
        var sealing: SymmetricKey?
        var isRefusing = false
    }

    private let state = Mutex(State())
    static let host = "kms.example.com"
    /// Of all keys.
    static let end = Timestamp(iso8601: "2040-01-01T00:00:00Z") ?? .now()

    func refuse(_ isRefused: Bool) { state.withLock { $0.isRefusing = isRefused } }
    func key(_ uri: String) -> SymmetricKey? { state.withLock { $0.keys[uri]?.key } }
    func resource(of uri: String) -> String? { state.withLock { $0.keys[uri]?.resource } }
    func people(of resource: String) -> [String] { state.withLock { $0.lists[resource] ?? [] } }
    var resources: Int { state.withLock { $0.lists.count } }

    func perform(_ operation: KMSOperation) async throws -> KMSAnswer {
        let now = Timestamp.now()
        return try state.withLock { state in
            guard !state.isRefusing else {
                throw KMSRefusal(
                    KMSAnswer(
                        KMSFailure(KMSStatus.forbidden, "the policy names no consent (no-consent)"), requestID: ""))
            }
            func answer(_ body: KMSAnswer.Body) -> KMSAnswer { KMSAnswer(status: 200, requestID: "", body: body) }
            func shown(_ uri: String) -> KMSKey? {
                state.keys[uri].map {
                    KMSKey(
                        uri: uri, key: $0.key, userID: "svc", clientID: "c", createDate: now,
                        expirationDate: Self.end, resourceURI: $0.resource,
                        bindDate: $0.resource == nil ? nil : now)
                }
            }
            switch operation {
            case .createSealingKey:
                let key = try state.sealing ?? SymmetricKey.random()
                state.sealing = key
                return answer(.sealingKey(KMSSealingKey(key: key, createDate: now)))
            case .createKeys(let count):
                var keys: [KMSKey] = []
                for _ in 0..<count {
                    let uri = "kms://\(Self.host)/keys/\(UUIDText.random())"
                    state.keys[uri] = (try SymmetricKey.random(), nil)
                    if let key = shown(uri) { keys.append(key) }
                }
                return answer(.keys(keys))
            case .createResource(let keys, let users):
                let uri = "kms://\(Self.host)/resources/\(UUIDText.random())"
                for key in keys { state.keys[key]?.resource = uri }
                state.lists[uri] = users
                return answer(
                    .resource(KMSResource(uri: uri, keyURIs: keys, authorizationURIs: [], expirationDate: nil)))
            case .bindKey(let uri, let resource):
                state.keys[uri]?.resource = resource
                return answer(.key(try Self.known(shown(uri))))
            case .useKey(let uri, _): return answer(.key(try Self.known(shown(uri))))
            default: throw DiagnosedError("test-keys", fault: .internal, "this is never asked")
            }
        }
    }

    private static func known(_ key: KMSKey?) throws -> KMSKey {
        guard let key else {
            throw KMSRefusal(KMSAnswer(KMSFailure(KMSStatus.notFound, "no such key"), requestID: ""))
        }
        return key
    }
}
