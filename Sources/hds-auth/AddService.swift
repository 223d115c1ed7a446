import ArgumentParser
import Cryptography
import TokenIssuer
import WireText

/// Adds a service with a fresh secret to an accounts file.
struct AddService: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add-service", abstract: "Add a service (a KMS, an indexer) to the accounts file.",
        discussion: """
            Makes a random secret of 256 bits. It is written to --secret-file (mode 0600), or printed; the accounts file \
            gets its hash only.

            hds-auth add-service --accounts accounts.yaml --id hds-kms --grant cloud=link:kms --secret-file kms.secret
            """)

    @Option(help: ArgumentHelp("The accounts file; it is made when missing.", valueName: "file"), completion: .file())
    var accounts: String
    @Option(help: "Id of the service: its client_id.")
    var id: String
    @Option(help: "Name of the service, for people; the id by default.")
    var name: String?
    @Option(help: "Organisation of the service, unless the file names one for all.")
    var organisation: String?
    @Option(
        help: ArgumentHelp(
            "What it may get: an audience (cloud or kms) and its scopes, such as cloud=link:kms. May be repeated.",
            valueName: "audience=scope,scope"))
    var grant: [String]
    @Option(help: ArgumentHelp("Where to write the secret; it must not be there.", valueName: "file"))
    var secretFile: String?

    func run() throws {
        var audiences: [Audience: [String]] = [:]
        for text in grant {
            let parts = text.split(separator: "=", maxSplits: 1)
            guard let first = parts.first, let audience = Audience(rawValue: String(first)) else {
                throw ValidationError("--grant \(text): the audience has to be cloud or kms.")
            }
            let scopes = parts.count > 1 ? parts[1].split(separator: ",").map(String.init) : []
            audiences[audience, default: []] += scopes
        }
        guard !audiences.isEmpty else { throw ValidationError("--grant is needed, such as --grant cloud=link:kms.") }
        let secret = Base64URL.encode(try RandomBytes.bytes(32))
        let entry = AccountFileEdit.Entry.service(
            id: id, name: name ?? id, organisation: organisation, secretHash: try PasswordHash.hash(secret),
            audiences: audiences)
        // The secret first: an entry whose secret nobody has would have to be found and removed.
        if let secretFile { try SmallFile.createSecret(secretFile, line: secret) }
        try AccountFileEdit.add(entry, to: .services, path: accounts)
        if secretFile == nil { print(secret) }
    }
}
