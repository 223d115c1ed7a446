import Dispatch

/// Runs blocking work on a thread outside the cooperative pool.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<R, any Error>) in
        DispatchQueue(label: "audit-trail").async { continuation.resume(with: Result { try body() }) }
    }
}
