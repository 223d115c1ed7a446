import ArgumentParser
import Cryptography
import Diagnostics
import EDiscoveryExport
import JOSESignature
import PolicyFiles
import WireText

/// The officer's half of an encrypted delivery: a key pair that exports are sealed for, and opening what came.
extension EDiscoveryCommand {
    struct Key: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a key that exports are sealed for, and print its public half as a JWK.",
            discussion: """
                The private key stays with the officer, in a new file of mode 0600 under a passphrase. It opens deliveries \
                and signs nothing; the printed JWK goes into the request for the export.
                """)

        @Argument(help: "The file to make.", completion: .file())
        var file: String
        @OptionGroup var secret: PassphraseOptions

        func run() throws {
            try reporting {
                let key = try OfficerKeyFile.create(file, passphrase: try secret.newPassphrase(for: file)).publicKey
                let jwk = JWK(
                    publicKey: key, kid: JWK.thumbprint(of: key), use: "enc", alg: "ECDH-ES")
                var json = JSONWriter()
                jwk.write(to: &json)
                print(json.text())
            }
        }
    }

    struct Open: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Open sealed volumes into a folder.",
            discussion: """
                What was interrupted is gone on with. Nothing is kept that is not authentic: a volume that is cut off, \
                changed or put together of others ends with 65 and leaves no file of its name.
                """)

        @Argument(help: "The sealed volumes.", completion: .file())
        var volumes: [String]
        @Option(
            name: .customLong("key"), help: ArgumentHelp("The officer's private key.", valueName: "file"),
            completion: .file())
        var keyFile: String
        @Option(help: "The folder for the volumes.", completion: .directory)
        var into: String
        @OptionGroup var secret: PassphraseOptions

        func run() throws {
            try reporting {
                try demandFolder(into)
                let key = try OfficerKeyFile.open(keyFile, passphrase: try secret.passphrase(for: keyFile))
                for volume in volumes {
                    let opener = try ExportOpener(volume, with: key)
                    let target = into + "/" + opener.name
                    try opener.write(to: target)
                    print(Terminal.plain("opened \(target), \(opener.count) octets"))
                }
            }
        }
    }
}
