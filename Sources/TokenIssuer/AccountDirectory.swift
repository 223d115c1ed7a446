package import Diagnostics
import Synchronization

/// The accounts in force: what the file said when it was last read without an error.
///
/// Thread-safe. `reload` takes a new file as a whole or refuses it as a whole and keeps what was there.
package final class AccountDirectory: Sendable {
    package let path: String?
    private let state: Mutex<State>

    private struct State {
        var file: Accounts
        /// Accounts that were made by a first login at a provider.
        var made: [UserAccount] = []
        var merged: Accounts

        init(_ accounts: Accounts) { (file, merged) = (accounts, accounts) }

        mutating func merge() { merged = file.adding(made) }
    }

    /// The file may be read by its owner and group: it holds no clear password, but hashes invite guessing.
    private static let forbiddenMode: UInt32 = 0o027

    package init(path: String) throws(DiagnosedError) {
        self.path = path
        state = Mutex(State(try Self.read(path)))
    }

    /// Accounts that come from no file.
    package init(_ accounts: Accounts) {
        path = nil
        state = Mutex(State(accounts))
    }

    package var accounts: Accounts { state.withLock { $0.merged } }

    /// Adds accounts that stand in no file; the file's own count before them, now and after a reload.
    package func add(_ made: [UserAccount]) {
        state.withLock { state in
            state.made += made
            state.merge()
        }
    }

    /// - Parameter judge: refuses accounts that the service's settings can not work with.
    package func reload(judge: (Accounts) throws(DiagnosedError) -> Void = { _ in }) throws(DiagnosedError) {
        guard let path else { return }
        let accounts = try Self.read(path)
        try judge(accounts)
        state.withLock { state in
            state.file = accounts
            state.merge()
        }
    }

    private static func read(_ path: String) throws(DiagnosedError) -> Accounts {
        let bytes = try FileAccess.read(
            path, maximumBytes: StructuredText.maximumBytes, forbidden: forbiddenMode, kind: "accounts file"
        ).bytes
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DiagnosedError(.accountsFile, fault: .configuration, "\(path): the file is not UTF-8")
        }
        return try AccountFile.parse(text, file: path)
    }
}
