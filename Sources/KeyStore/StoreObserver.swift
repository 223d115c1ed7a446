package import Diagnostics

/// Whom a store tells what it sees between two looks at it. Called on threads of the store; returns quickly.
package struct StoreObserver: Sendable {
    /// Told when the database does not do what it should, with what was seen: at the first failure and whenever its code
    /// changes. With nil when it works again.
    package var trouble: @Sendable (DiagnosedError?) -> Void
    /// Told of each commit that was carried out how long its caller waited for it.
    package var committed: @Sendable (Duration) -> Void

    package init(
        trouble: @escaping @Sendable (DiagnosedError?) -> Void = { _ in },
        committed: @escaping @Sendable (Duration) -> Void = { _ in }
    ) {
        self.trouble = trouble
        self.committed = committed
    }
}

extension DiagnosedError {
    /// Whether a database may do later, without anybody restarting the service, what it did not do now: requests are held
    /// for that. Damage and defects do not pass.
    package var maySettle: Bool {
        switch code {
        case .storeUnreachable, .storePermissions, .storeReadOnly, .storeFull, .storeBusy, .storeReplaced: true
        default: false
        }
    }
}
