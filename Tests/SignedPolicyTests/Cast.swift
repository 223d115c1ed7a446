import Cryptography
import Diagnostics
import PolicyFiles
import SignedPolicy
import Synchronization
import Testing
import WireText

/// The officers of the tests, and policies as people write them.
struct Cast {
    let ada: (officer: Officer, key: PrivateKey)
    let bob: (officer: Officer, key: PrivateKey)
    /// Enrolled, but not for policies.
    let cyd: (officer: Officer, key: PrivateKey)
    /// Enrolled nowhere.
    let eve: PrivateKey
    let roster: OfficerRoster

    init() throws {
        func enrol(_ id: String, _ key: PrivateKey, _ duties: Set<Officer.Duty>) throws -> (Officer, PrivateKey) {
            (try Officer(id: id, name: "\(id) example", publicKey: key.publicKey, duties: duties), key)
        }
        ada = try enrol("ada", .generateP256(), [.policy, .freeze, .fourEyes])
        bob = try enrol("bob", .generateRSA(), [.policy, .fourEyes])
        cyd = try enrol("cyd", .generateP256(), [.freeze])
        eve = try .generateP256()
        roster = try OfficerRoster([ada.officer, bob.officer, cyd.officer])
    }

    static let noon = Timestamp(iso8601: "2027-03-01T12:00:00Z")!
    static let space = "kms://kms.example.com/resources/0b8cfd7e-5b1f-4f0e-9b0a-6f3a3f0b1c2d"
    static let otherSpace = "kms://kms.example.com/resources/11111111-5b1f-4f0e-9b0a-6f3a3f0b1c2d"

    /// A policy with the given lines below its head.
    static func yaml(version: Int = 1, organisation: String = "example-org", _ lines: String = "") -> String {
        "version: \(version)\norganisation: \(organisation)\nissued: 2027-01-15T09:00:00Z\n\(lines)"
    }

    static func policy(version: Int = 1, _ lines: String = "") throws -> Policy {
        try PolicySource.read(yaml(version: version, lines), file: "policy.yaml").policy
    }

    static func canonical(version: Int = 1, organisation: String = "example-org", _ lines: String = "") throws
        -> [UInt8]
    {
        try PolicySource.read(
            yaml(version: version, organisation: organisation, lines), file: "policy.yaml"
        ).canonical
    }

    static func error(_ body: () throws -> some Any) -> DiagnosedError? {
        do {
            _ = try body()
            return nil
        } catch {
            return error as? DiagnosedError
        }
    }

    static func error(_ body: () async throws -> some Any) async -> DiagnosedError? {
        do {
            _ = try await body()
            return nil
        } catch {
            return error as? DiagnosedError
        }
    }
}

/// Where a KMS keeps the highest version; it can be told to fail.
final class SeenStore: Sendable {
    struct Broken: Error {}
    private let state = Mutex<(seen: PolicyHolder.Seen?, isBroken: Bool)>((nil, false))

    var seen: PolicyHolder.Seen? { state.withLock { $0.seen } }
    func breakDown(_ isBroken: Bool = true) { state.withLock { $0.isBroken = isBroken } }

    func holder(signaturesNeeded: Int = 1) -> PolicyHolder {
        PolicyHolder(
            organisation: "example-org", signaturesNeeded: signaturesNeeded,
            recall: {
                try self.state.withLock {
                    if $0.isBroken { throw Broken() }
                    return $0.seen
                }
            },
            remember: { seen in
                // Others get their turn, so that loads which are not kept apart would overtake each other here.
                await Task.yield()
                try self.state.withLock {
                    if $0.isBroken { throw Broken() }
                    $0.seen = seen
                }
            })
    }
}
