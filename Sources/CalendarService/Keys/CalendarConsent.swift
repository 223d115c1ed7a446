import Diagnostics
import KMSClient
import KMSProtocol
import LinkedService

/// Who asks the KMS for the connector.
protocol KMSAsking: Sendable {
    @discardableResult
    func perform(_ operation: KMSOperation) async throws -> KMSAnswer
}

extension KMSCaller: KMSAsking {}

extension ServiceConsent {
    /// Of the calendar connector.
    init(_ kms: any KMSAsking, changed: @escaping @Sendable (State) async -> Void) {
        self.init(
            missing: DiagnosedError(
                .calendarConsent, fault: .configuration, "the KMS gives this service no keys at present",
                hint: "see HDS-CAL-CONSENT and the check consent"),
            ask: { try await kms.perform(.createSealingKey) }, changed: changed)
    }
}

extension DiagnosedError.Code {
    static let calendarConsent: Self = "calendar-consent"
}
