package import Diagnostics
import Synchronization

/// The accounts in force: what the file said when it was last read without an error.
///
/// Thread-safe. `reload` takes a new file as a whole or refuses it as a whole and keeps what was there.
package final class AccountDirectory: Sendable {
    package let path: String?
    private let state: Mutex<Accounts>

    /// The file may be read by its owner and group: it holds no clear password, but hashes invite guessing.
    private static let forbiddenMode: UInt32 = 0o027

    package init(path: String) throws(DiagnosedError) {
        self.path = path
        state = Mutex(try Self.read(path))
    }

    /// Accounts that come from no file.
    package init(_ accounts: Accounts) {
        path = nil
        state = Mutex(accounts)
    }

    package var accounts: Accounts { state.withLock { $0 } }

    /// - Parameter judge: refuses accounts that the service's settings can not work with.
    package func reload(judge: (Accounts) throws(DiagnosedError) -> Void = { _ in }) throws(DiagnosedError) {
        guard let path else { return }
        let accounts = try Self.read(path)
        try judge(accounts)
        state.withLock { $0 = accounts }
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
