import ArgumentParser
import Cryptography
import JOSESignature
import TokenIssuer
import WireText

/// Adds a service with a fresh secret to an accounts file.
struct AddService: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add-service", abstract: "Add a service (a KMS, an indexer) to the accounts file.",
        discussion: """
            Makes a random secret of 256 bits. It is written to --secret-file (mode 0600), or printed; the accounts file \
            gets its hash only.

            With --key its tokens are bound to a key of its own: a KMS takes them only together with a proof of it, so \
            a token alone is worth nothing to a thief.

            hds-auth add-service --accounts accounts.yaml --id hds-kms --grant cloud=link:kms --introspects kms \
            --secret-file kms.secret
            hds-auth add-service --accounts accounts.yaml --id indexer --grant kms=index --key indexer.pem \
            --secret-file indexer.secret
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
    @Option(
        help: ArgumentHelp(
            "An audience whose tokens it may ask about, as a KMS does for opaque ones. May be repeated.",
            valueName: "audience"))
    var introspects: [String] = []
    @Option(
        help: ArgumentHelp(
            "Its public key (RSA or P-256), or a certificate of it, PEM: its tokens are bound to that key.",
            valueName: "file"), completion: .file())
    var key: String?
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
        let introspected = try introspects.map { text in
            guard let audience = Audience(rawValue: text) else {
                throw ValidationError("--introspects \(text): the audience has to be cloud or kms.")
            }
            return audience
        }
        let thumbprint = try key.map(Self.thumbprint)
        let secret = Base64URL.encode(try RandomBytes.bytes(32))
        let entry = AccountFileEdit.Entry.service(
            id: id, name: name ?? id, organisation: organisation, secretHash: try PasswordHash.hash(secret),
            audiences: audiences, introspects: introspected, keyThumbprint: thumbprint)
        // The secret first: an entry whose secret nobody has would have to be found and removed.
        if let secretFile { try SmallFile.createSecret(secretFile, line: secret) }
        try AccountFileEdit.add(entry, to: .services, path: accounts)
        if secretFile == nil { print(secret) }
    }
    /// RFC 7638, of the key in a PEM file.
    private static func thumbprint(_ path: String) throws -> String {
        let text = try SmallFile.text(path, kind: "public key")
        guard !text.contains("PRIVATE KEY") else {
            throw ValidationError(
                "--key \(path): this is a private key; the service keeps it, here goes the public one.")
        }
        let key =
            text.contains("BEGIN CERTIFICATE")
            ? try Certificate.all(inPEM: text).first?.publicKey : try PublicKey(pem: text)
        guard let key, let thumbprint = JWK.thumbprint(of: key) else {
            throw ValidationError("--key \(path): an RSA or P-256 public key is expected.")
        }
        return thumbprint
    }
}
