package import ServiceRuntime

/// The section `archive`: where every message goes as a mail of its own, as it comes. One of `folder` and `mail`.
package struct ArchiveSection: Decodable, Sendable {
    /// Another program takes the files out of it, and deletes them.
    package let folder: FileLocation?
    /// The address of a journal.
    package let mail: MailSection?

    package enum CodingKeys: String, CodingKey, CaseIterable { case folder, mail }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        folder = try section.optional(.folder)
        mail = try section.optional(.mail)
        guard (folder == nil) != (mail == nil) else {
            throw section.problem(.folder, "expected one of folder and mail")
        }
    }

    /// A mail server that takes the mails: SMTP with STARTTLS, or LMTP.
    package struct MailSection: Decodable, Sendable {
        package enum Dialect: String, NamedValue, Sendable { case smtp, lmtp }

        package let server: NetworkAddress
        package let dialect: Dialect
        /// PEM: the only certification authorities that are taken for it; nil: without TLS, on this machine.
        package let ca: FileLocation?
        package let sender: String
        package let recipient: String

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case server, dialect, ca
            case sender = "from"
            case recipient = "to"
        }

        package init(from decoder: any Decoder) throws {
            let section = try decoder.container(keyedBy: CodingKeys.self)
            server = try section.value(.server)
            dialect = try section.value(.dialect, default: .smtp)
            ca = try section.optional(.ca)
            sender = try section.value(.sender)
            recipient = try section.value(.recipient)
            guard ca != nil || server.host.hasPrefix("127.") || server.host == "::1" else {
                throw section.problem(.ca, "expected ca, or a server on 127.0.0.1: it gets plaintext")
            }
            for (key, address) in [(CodingKeys.sender, sender), (.recipient, recipient)] {
                let isPlain = address.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x3C && $0 != 0x3E }
                guard isPlain, address.contains("@"), address.utf8.count <= 254 else {
                    throw section.problem(key, "expected an address of mail in ASCII")
                }
            }
        }
    }
}
