package import Diagnostics
private import WireText

/// Blocks of base64 between BEGIN and END lines (RFC 7468); text around them is ignored.
package enum PEMText {
    /// The content of every block of this label, in order.
    package static func blocks(_ label: String, in text: String) throws(DiagnosedError) -> [[UInt8]] {
        var blocks: [[UInt8]] = []
        var body: String?
        for line in text.split(whereSeparator: \.isNewline) {
            let line = line.filter { !$0.isWhitespace || $0 == " " }.trimmed
            if line == "-----BEGIN \(label)-----" {
                guard body == nil else { throw malformed(label) }
                body = ""
            } else if line == "-----END \(label)-----" {
                guard let text = body, let bytes = Base64.decode(text), !bytes.isEmpty else { throw malformed(label) }
                blocks.append(bytes)
                body = nil
            } else if body != nil {
                body? += line
            }
        }
        guard body == nil else { throw malformed(label) }
        return blocks
    }

    package static func encode(_ label: String, _ bytes: [UInt8]) -> String {
        var text = "-----BEGIN \(label)-----\n"
        var rest = Base64.encode(bytes)[...]
        while !rest.isEmpty {
            text += rest.prefix(64) + "\n"
            rest = rest.dropFirst(64)
        }
        return text + "-----END \(label)-----\n"
    }

    private static func malformed(_ label: String) -> DiagnosedError {
        DiagnosedError(
            "pem-malformed", fault: .configuration, "the PEM text is damaged",
            expected: "base64 between BEGIN \(label) and END \(label)", hint: "was the file cut off?")
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}

extension String {
    fileprivate var trimmed: Substring { self[...].trimmed }
}
