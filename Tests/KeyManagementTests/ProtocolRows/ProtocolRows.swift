/// What sections 6 to 8 of the KMS protocol say, line by line: each has a test whose name quotes it in brackets, such as
/// `[8 create /keys]`. `ProtocolRowsTests` holds the sources of the tests against this list.
enum ProtocolRows {
    /// Who is asking.
    static let section6 = [
        "bearer on every request", "effective user", "compliance role", "foreign userId", "onBehalfOf oneself",
        "user of the session", "rights of the effective user",
    ]

    /// Objects.
    static let section7 = [
        "form of a key", "unbound key", "bound key", "defaults of expirationDate", "authId as given",
        "KRO as authId", "/public", "form of an authorization", "form of a resource", "rights on a KRO",
    ]

    /// The table of operations, by its first column.
    static let operations = [
        "update /ping", "delete <session>", "create /keys", "retrieve <key>", "update <key>", "retrieve <kro>/keys",
        "create /resources", "retrieve <kro>", "delete <kro>", "create /authorizations",
        "retrieve <kro>/authorizations", "delete <kro>/authorizations?authId=X", "delete <kro>/authorizations",
        "delete <authorization>", "anything else",
    ]

    /// The table of master keys, by its first column.
    static let masterKeys = [
        "retrieve /publicKey", "create /cmk", "create /awsKmsCmk", "retrieve /cmk or /awsKmsCmk", "update <cmk uri>",
        "update default", "delete /cmk or /awsKmsCmk",
    ]

    /// What stands around the tables of section 8.
    static let section8 = ["ids", "leaving a space", "anonymous", "no export", "master keys of the draft"]

    static let all =
        section6.map { "6 " + $0 } + section7.map { "7 " + $0 }
        + (operations + masterKeys + section8).map { "8 " + $0 }
}
