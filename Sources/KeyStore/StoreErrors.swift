package import Diagnostics

extension DiagnosedError.Code {
    /// A change that breaks the rules of the records: a defect of the program.
    package static let storeChangeMalformed: Self = "store-change-malformed"
    package static let storeClosed: Self = "store-closed"
    /// The database or its directory can not be opened, read or written.
    package static let storeUnreachable: Self = "store-unreachable"
    /// Another process works on the database.
    package static let storeInUse: Self = "store-in-use"
    /// Owner or mode of the database's files let others in.
    package static let storePermissions: Self = "store-permissions"
    package static let storeCorrupt: Self = "store-corrupt"
    /// Another database was promoted past this one.
    package static let storeSuperseded: Self = "store-superseded"
    package static let storeReadOnly: Self = "store-read-only"
    package static let storeFull: Self = "store-full"
    package static let storeBusy: Self = "store-busy"
    /// The database belongs to another program or to a newer version of this one.
    package static let storeForeign: Self = "store-foreign"
    /// The database's file is no longer the one that was opened.
    package static let storeReplaced: Self = "store-replaced"
    /// A database over the network is not proven to be the right one, or speaks no TLS.
    package static let storeTLS: Self = "store-tls"
    /// A database refuses the user or its password.
    package static let storeLogin: Self = "store-login"
    /// A database server that is too old, or is set up so that it may lose what it acknowledged.
    package static let storeUnsupported: Self = "store-unsupported"
    /// The database that something should be put into has other records.
    package static let storeNotEmpty: Self = "store-not-empty"
    /// Any other failure of the database.
    package static let storeFailed: Self = "store-failed"
}

extension DiagnosedError {
    package static let keyStoreClosed = DiagnosedError(
        .storeClosed, fault: .store, "the key store is closed", hint: "the service is shutting down")
}
