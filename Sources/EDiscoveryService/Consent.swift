import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService
import WireText

typealias Consent = ServiceConsent

extension ServiceConsent {
    /// Of the eDiscovery worker.
    init(
        _ kms: any KMSAsking, now: @escaping @Sendable () -> Timestamp = { .now() },
        changed: @escaping @Sendable (State) async -> Void
    ) {
        self.init(
            missing: DiagnosedError(
                .ediscoveryConsent, fault: .configuration, "the KMS gives this service no keys at present",
                hint: "see HDS-EDISCOVERY-CONSENT and the check consent"),
            now: now, ask: { try await kms.perform(.createSealingKey, on: nil) }, changed: changed)
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
