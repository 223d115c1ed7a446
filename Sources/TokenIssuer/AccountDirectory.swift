package import Diagnostics
import Synchronization
package import WireText

/// The accounts in force: what the file said when it was last read without an error, the people of directories, and who is
/// cut off. The one place where accounts come from.
///
/// Thread-safe. `reload` takes a new file as a whole or refuses it as a whole and keeps what was there.
package final class AccountDirectory: Sendable {
    package let path: String?
    private let state: Mutex<State>

    private struct State {
        /// As the file says.
        var file: Accounts
        /// Accounts that were made by a first login at a provider.
        var made: [UserAccount] = []
        var overlay = AccountOverlay()
        /// All together.
        var inForce: Accounts
        /// Rises whenever they are taken anew.
        var generation = 0

        init(_ file: Accounts) { (self.file, inForce) = (file, file) }

        /// The file's own count before those that were made; then what directories and operators say.
        var known: Accounts { file.adding(made) }

        mutating func merge() {
            inForce = overlay.applied(to: known)
            generation += 1
        }
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

    package var accounts: Accounts { state.withLock { $0.inForce } }
    /// Another number, other accounts.
    var generation: Int { state.withLock { $0.generation } }
    /// Without the people of directories, and as if nobody were cut off.
    package var ofFile: Accounts { state.withLock { $0.known } }

    /// Adds accounts that stand in no file; the file's own count before them, now and after a reload.
    package func add(_ made: [UserAccount]) {
        state.withLock { state in
            state.made += made
            state.merge()
        }
    }

    /// Takes what directories and operators say now; an older overlay than the one in force changes nothing.
    package func take(_ overlay: AccountOverlay) {
        state.withLock { state in
            guard overlay.version >= state.overlay.version else { return }
            state.overlay = overlay
            state.merge()
        }
    }

    /// Who is cut off now, and since when; accounts that the file disables among them, of whom that is not known.
    package var disabled: [String: Timestamp] {
        state.withLock { state in
            var disabled = state.overlay.cutOff
            for user in state.file.users where user.isDisabled && disabled[user.id] == nil {
                disabled[user.id] = Timestamp(seconds: 0)
            }
            return disabled
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
