import Diagnostics
import Glibc
import Provisioning

/// Asks an administrator in the terminal for what `hdsctl setup` has to know, as the text of an answers file.
enum SetupQuestions {
    private struct Question {
        let key: String
        let text: String
        var standard: String?
        /// Nothing is written for an empty answer.
        var isOptional = false
        /// Why an answer can not be used; nil when it can.
        var judge: @Sendable (String) -> String? = { _ in nil }
    }

    private static func isThere(_ path: String) -> String? {
        access(path, R_OK) == 0 ? nil : "there is no file \(path) that can be read"
    }

    private static let questions: [Question] = [
        Question(
            key: "host", text: "DNS name of the KMS, which never changes (kms.example.com)",
            judge: {
                $0.contains(".") && !$0.contains("/") && $0 == $0.lowercased()
                    ? nil : "expected a DNS name in lower case"
            }
        ),
        Question(key: "node", text: "Name of this node", standard: "kms-1"),
        Question(key: "organisation", text: "Id of the organisation, as tokens have it in org"),
        Question(
            key: "core.link", text: "Address of the core's link (wss://core.example.net:8443/link/v1)",
            judge: { $0.hasPrefix("wss://") ? nil : "expected an address that begins with wss://" }),
        Question(key: "core.ca", text: "File with the core's certification authority (PEM)", judge: isThere),
        Question(
            key: "core.pins", text: "Pins of the core's keys, the present one first, by spaces", isOptional: true,
            judge: { text in
                text.split(separator: " ").allSatisfy { $0.hasPrefix("sha256/") } ? nil : "expected sha256/BASE64 each"
            }),
        Question(
            key: "authorization.issuer", text: "Address of the authorization service (https://auth.example.com:8444)",
            judge: {
                $0.hasPrefix("https://") && !$0.hasSuffix("/")
                    ? nil : "expected https://HOST:PORT without a slash at the end"
            }),
        Question(
            key: "authorization.ca", text: "File with the authorization service's certification authority (PEM)",
            judge: isThere),
        Question(
            key: "certificate.pkcs12", text: "PKCS#12 file with static key and certificate; empty: a new key is made",
            isOptional: true, judge: isThere),
        Question(key: "officers", text: "File of enrolled officers; empty: later", isOptional: true, judge: isThere),
        Question(key: "backup", text: "Folder for backups, best on another disk", standard: "/var/lib/hds-kms-backup"),
        Question(key: "operators-group", text: "Group whose members use hdsctl", standard: "hds-operators"),
    ]

    /// An answers file in YAML; what more there is to say stands in config/setup.example.yaml.
    static func ask() throws(DiagnosedError) -> String {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)
        guard terminal >= 0 else {
            throw DiagnosedError(
                .setupFile, fault: .client, "there is no terminal to ask on", hint: "give --answers FILE")
        }
        defer { close(terminal) }
        var sections: [(name: String, lines: [String])] = []
        for question in questions {
            guard let answer = try answer(question, terminal) else { continue }
            let parts = question.key.split(separator: ".").map(String.init)
            let value =
                question.key == "core.pins"
                ? TemplateText.list(answer.split(separator: " ").map(String.init)) : TemplateText.scalar(answer)
            let name = parts.count == 1 ? "" : parts[0]
            let line = parts.count == 1 ? "\(parts[0]): \(value)" : "  \(parts[1]): \(value)"
            if let index = sections.firstIndex(where: { $0.name == name }) {
                sections[index].lines.append(line)
            } else {
                sections.append((name, [line]))
            }
        }
        let escrow = "escrow:\n  shares: 5\n  needed: 3\n"
        return "# Answers of hdsctl setup; config/setup.example.yaml explains every key.\n"
            + sections.map { ($0.name.isEmpty ? "" : "\($0.name):\n") + $0.lines.joined(separator: "\n") + "\n" }
            .joined()
            + escrow
    }

    private static func answer(_ question: Question, _ terminal: Int32) throws(DiagnosedError) -> String? {
        while true {
            say("\(question.text)\(question.standard.map { " [\($0)]" } ?? ""): ", terminal)
            var octets: [UInt8] = []
            var octet: UInt8 = 0
            var isOpen = false
            while read(terminal, &octet, 1) == 1 {
                isOpen = true
                if octet == UInt8(ascii: "\n") { break }
                octets.append(octet)
            }
            guard isOpen else {
                throw DiagnosedError(.setupFile, fault: .client, "the terminal was closed", hint: "give --answers FILE")
            }
            let text = String(decoding: octets, as: UTF8.self).split(separator: " ").joined(separator: " ")
            let value = text.isEmpty ? question.standard ?? "" : text
            guard !value.isEmpty else {
                if question.isOptional { return nil }
                continue
            }
            guard let objection = question.judge(value) else { return value }
            say("  \(objection)\n", terminal)
        }
    }

    private static func say(_ text: String, _ terminal: Int32) {
        let octets = Array(text.utf8)
        _ = write(terminal, octets, octets.count)
    }
}
