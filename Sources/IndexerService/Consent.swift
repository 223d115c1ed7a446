import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import WireText

typealias Consent = ServiceConsent

extension ServiceConsent {
    /// Of the indexer.
    init(
        _ kms: any KMSAsking, now: @escaping @Sendable () -> Timestamp = { .now() },
        changed: @escaping @Sendable (State) async -> Void
    ) {
        self.init(
            missing: DiagnosedError(
                .indexConsent, fault: .configuration, "the KMS gives this service no keys at present",
                hint: "see HDS-INDEX-CONSENT and the check consent"),
            now: now, ask: { try await kms.perform(.createSealingKey) }, changed: changed)
    }
}

/// Who asks the KMS for the indexer.
protocol KMSAsking: Sendable {
    @discardableResult
    func perform(_ operation: KMSOperation) async throws -> KMSAnswer
}

extension KMSCaller: KMSAsking {}

extension DiagnosedError.Code {
    static let indexConsent: Self = "index-consent"
}
