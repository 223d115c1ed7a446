/// Brings a string to another KMS and its answer back; the link to the core does it in the service.
///
/// The carrier is not trusted: what it brings is verified. It must end within about `milliseconds`.
package protocol FederationCarrier: Sendable {
    /// - Parameter host: of the KMS that is asked.
    func send(
        _ text: [UInt8], to host: String, within milliseconds: Int64
    ) async throws(FederationCarrierFailure) -> [UInt8]
}

/// Why no answer came.
package enum FederationCarrierFailure: Error, Sendable, Equatable {
    /// It is known not to be there.
    case away(String)
    /// It was asked and did not answer in time.
    case timeout
}
