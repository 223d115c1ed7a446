import Diagnostics
import GRDB
import GRDBSQLite
import KeyStore

/// What SQLite answered: its extended result code and message, neither of which holds a value of a row.
struct SQLiteFailure: Error {
    let code: Int32
    let message: String

    init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    init(_ code: Int32, _ connection: OpaquePointer?) {
        let extended = connection.map { sqlite3_extended_errcode($0) } ?? code
        self.init(
            code: extended & 0xFF == code & 0xFF ? extended : code,
            message: connection.flatMap { sqlite3_errmsg($0) }.map { String(cString: $0) } ?? "no message")
    }

    /// Content that this program did not write like that.
    static func corrupt(_ message: String) -> SQLiteFailure { SQLiteFailure(code: SQLITE_CORRUPT, message: message) }

    init?(_ error: any Error) {
        if let failure = error as? SQLiteFailure {
            self = failure
        } else if let error = error as? DatabaseError {
            self.init(code: error.extendedResultCode.rawValue, message: error.message ?? "no message")
        } else {
            return nil
        }
    }

    /// Whether a row that should be absent is there, or one that a record names is not.
    var isConflict: Bool {
        let refusals: [ResultCode] = [
            .SQLITE_CONSTRAINT_UNIQUE, .SQLITE_CONSTRAINT_PRIMARYKEY, .SQLITE_CONSTRAINT_FOREIGNKEY,
        ]
        return refusals.contains(ResultCode(rawValue: code))
    }

    /// The same in words for an operator.
    func diagnosed(_ path: String) -> DiagnosedError {
        let found = "\(message) (SQLite \(code))"
        switch code & 0xFF {
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            return DiagnosedError(
                .storeCorrupt, fault: .store, "the key store \(path) is damaged", expected: "an intact database",
                found: found,
                hint: "keep the file and its -wal beside it, look for errors of the disk, restore the last backup")
        case SQLITE_READONLY:
            return DiagnosedError(
                .storeReadOnly, fault: .store, "the key store \(path) can not be written", found: found,
                hint: "see whether its disk was remounted read-only and whether the service's user owns the file")
        case SQLITE_FULL:
            return DiagnosedError(
                .storeFull, fault: .store, "no room for the key store \(path)", found: found,
                hint: "free space on its disk; nothing acknowledged was lost, and writing resumes by itself")
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH:
            return DiagnosedError(
                .storeUnreachable, fault: .store, "the key store \(path) can not be opened", found: found,
                hint: "see whether file and directory are there and belong to the service's user")
        case SQLITE_BUSY, SQLITE_LOCKED:
            return DiagnosedError(
                .storeBusy, fault: .store, "another program holds the key store \(path)", found: found,
                hint: "end backups and sqlite3 shells that write to it")
        case SQLITE_IOERR:
            return DiagnosedError(
                .storeUnreachable, fault: .store, "the disk of the key store \(path) fails", found: found,
                hint: "see the kernel's log for errors of the disk")
        default:
            return DiagnosedError(.storeFailed, fault: .store, "the key store \(path) failed", found: found)
        }
    }
}

/// `error` as it leaves this module.
func diagnosed(_ error: any Error, _ path: String) -> DiagnosedError {
    if let error = error as? DiagnosedError { return error }
    return SQLiteFailure(error)?.diagnosed(path)
        ?? DiagnosedError(.storeFailed, fault: .internal, "the key store \(path) failed", found: "\(type(of: error))")
}
