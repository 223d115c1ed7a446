/// Waiting, injected so that tests decide when time passes.
package struct Sleep: Sendable {
    private let body: @Sendable (Int64) async throws -> Void

    package init(_ body: @escaping @Sendable (_ milliseconds: Int64) async throws -> Void) { self.body = body }

    /// Throws when the task is cancelled.
    func milliseconds(_ count: Int64) async throws { try await body(count) }

    package static let real = Sleep { try await Task.sleep(for: .milliseconds($0)) }
}
