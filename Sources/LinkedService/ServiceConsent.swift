package import Diagnostics
import KMSClient
package import KMSProtocol
package import SecretMemory
package import WireText

/// Whether the organisation lets a service read, and the key that comes with it: what the service stores is sealed under it
/// (security model, rule 30).
///
/// Rules:
/// 1. The KMS is asked once a minute. Its word counts for five minutes, so that a KMS that is away for a moment stops nothing.
/// 2. When it refuses, everything that was unsealed is forgotten at once, and nothing is read, stored or answered.
package actor ServiceConsent {
    /// How long anything that the KMS gave stays in memory, in seconds.
    package static let freshness: Int64 = 300

    package enum State: Sendable {
        case unknown(DiagnosedError?)
        case granted
        case refused(DiagnosedError)
    }

    private let ask: @Sendable () async throws -> KMSAnswer
    private let missing: DiagnosedError
    private let now: @Sendable () -> Timestamp
    private let changed: @Sendable (State) async -> Void
    private var held: (key: SymmetricKey, until: Timestamp)?
    private var asked: Timestamp?
    private var isUnanswered = false

    /// - Parameters:
    ///   - missing: what is thrown while there is no key.
    ///   - ask: asks the KMS for the service's sealing key.
    ///   - changed: told each outcome; forgets what was unsealed when it is a refusal.
    package init(
        missing: DiagnosedError, now: @escaping @Sendable () -> Timestamp = { .now() },
        ask: @escaping @Sendable () async throws -> KMSAnswer, changed: @escaping @Sendable (State) async -> Void
    ) {
        (self.missing, self.now, self.ask, self.changed) = (missing, now, ask, changed)
    }

    /// Asks the KMS when that is due: at once, then each minute, and each five seconds while nobody answers. Called while there
    /// is a link, each second.
    package func renewIfDue() async {
        let present = now()
        if let asked, present >= asked, present < asked.adding(seconds: isUnanswered ? 5 : 60) { return }
        asked = present
        await renew()
    }

    /// Asks the KMS now.
    package func renew() async {
        do {
            guard case .sealingKey(let key) = try await ask().body else {
                throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no sealing key")
            }
            held = (key.key, now().adding(seconds: Self.freshness))
            isUnanswered = false
            await changed(.granted)
        } catch let refusal as KMSRefusal {
            held = nil
            isUnanswered = false
            await changed(.refused(refusal.diagnosed))
        } catch {
            isUnanswered = true
            await changed(.unknown(error as? DiagnosedError))
        }
    }

    /// The key, asked for if there is none that counts; throws what is in the way.
    package func sealingKey() async throws -> SymmetricKey {
        if let held, now() < held.until { return held.key }
        held = nil
        await renew()
        guard let held else { throw missing }
        return held.key
    }
}
