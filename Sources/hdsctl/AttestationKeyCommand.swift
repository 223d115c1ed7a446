import ArgumentParser
import AuditTrail
import WireText

/// `hdsctl attestation-key`: the key that signs audit heads and roots.
struct AttestationKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "attestation-key",
        abstract: "Make, identify and replace the key that signs the audit trail.",
        discussion: """
            The attestation key signs heads and roots of the audit trail, apart from every key of the KMS protocol. \
            Publish its fingerprint where auditors find it without asking this machine: whoever verifies a trail \
            believes this fingerprint and nothing else.
            """,
        subcommands: [Create.self, Fingerprint.self, Succeed.self])

    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a new random attestation key to a new file of mode 0600.",
            discussion: "An existing file is never overwritten. Prints the fingerprint, never the key.")

        enum Kind: String, ExpressibleByArgument, CaseIterable { case p256, rsa }

        @Argument(help: "The file to make.", completion: .file())
        var file: String
        @Option(help: "p256 or rsa (3072 bits).")
        var type = Kind.p256
        @OptionGroup var output: KeyOutput

        func run() throws {
            try reporting {
                let key = try type == .p256 ? AttestationKey.createP256() : AttestationKey.createRSA()
                try key.save(toNewFile: file)
                output.show(
                    key.fingerprint, file: file,
                    """
                    A new attestation key lies in \(file), fingerprint \(key.fingerprint).
                    Next: publish the fingerprint where auditors find it, and name the file in the configuration.
                    """)
            }
        }
    }

    struct Fingerprint: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the fingerprint of an attestation key (JWK thumbprint, RFC 7638).",
            discussion: "Takes the key file itself, its public half in PEM, or a JWK.")

        @Argument(help: "The file to read.", completion: .file())
        var file: String
        @Flag(help: "Print the public key as a JWK instead.")
        var jwk = false
        @OptionGroup var output: KeyOutput

        func run() throws {
            try reporting {
                let key = try AttestationPublicKey(fromFile: file)
                if jwk { return print(key.jwk) }
                output.show(key.fingerprint, file: file, key.fingerprint)
            }
        }
    }

    struct Succeed: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the statement by which an attestation key hands over to a new one.",
            discussion: """
                Name the statement in the configuration together with the new key, and keep it as long as the trail: \
                auditors who believe the old fingerprint then believe the new key too. Destroy the old key afterwards.
                """)

        @Argument(help: "The key that steps back.", completion: .file())
        var old: String
        @Argument(help: "The key that takes over; its public half is enough.", completion: .file())
        var new: String

        func run() throws {
            try reporting {
                let next = try AttestationPublicKey(fromFile: new)
                print(try AttestationKey.load(fromFile: old, isOfService: true).succession(to: next.key, at: .now()))
            }
        }
    }
}
