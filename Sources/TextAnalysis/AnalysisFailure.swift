package import Diagnostics

extension DiagnosedError.Code {
    /// The analyser makes other stems than the index was made with: the service may not start.
    package static let analyserChanged: Self = "analyser-changed"
}
