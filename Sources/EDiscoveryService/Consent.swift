import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import SecretMemory
import WireText

/// Whether the organisation lets this service read, and the key that comes with it: what the service stores is sealed under
/// it (security model, rule 30).
///
/// The KMS is asked once a minute and its word counts for five. When it refuses, everything that was unsealed is forgotten at once, and
/// nothing is read, collected or answered.
actor Consent {
    static let freshness: Int64 = 300

    enum State: Sendable {
        case unknown(DiagnosedError?)
        case granted
        case refused(DiagnosedError)
    }

    private let kms: any KMSAsking
    private let now: @Sendable () -> Timestamp
    private let changed: @Sendable (State) async -> Void
    private var held: (key: SymmetricKey, until: Timestamp)?

    init(
        _ kms: any KMSAsking, now: @escaping @Sendable () -> Timestamp = { .now() },
        changed: @escaping @Sendable (State) async -> Void
    ) {
        self.kms = kms
        self.now = now
        self.changed = changed
    }

    /// Asks the KMS now.
    func renew() async {
        do {
            guard case .sealingKey(let key) = try await kms.perform(.createSealingKey, on: nil).body else {
                throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no sealing key")
            }
            held = (key.key, now().adding(seconds: Self.freshness))
            await changed(.granted)
        } catch let refusal as KMSRefusal {
            held = nil
            await changed(.refused(refusal.diagnosed))
        } catch {
            await changed(.unknown(error as? DiagnosedError))
        }
    }

    /// The key, asked for if there is none that counts; throws what is in the way.
    func sealingKey() async throws -> SymmetricKey {
        if let held, now() < held.until { return held.key }
        held = nil
        await renew()
        guard let held else {
            throw DiagnosedError(
                .ediscoveryConsent, fault: .configuration, "the KMS gives this service no keys at present",
                hint: "see HDS-EDISCOVERY-CONSENT and the check consent")
        }
        return held.key
    }
}

/// Who asks the KMS for the worker.
protocol KMSAsking: Sendable {
    @discardableResult
    func perform(_ operation: KMSOperation, on behalf: KMSCaller.Behalf?) async throws -> KMSAnswer
}

extension KMSCaller: KMSAsking {}

extension DiagnosedError.Code {
    static let ediscoveryConsent: Self = "ediscovery-consent"
}
