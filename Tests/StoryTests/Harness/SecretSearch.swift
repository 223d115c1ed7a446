import Foundation
import Glibc
import WireText

/// Searches files for secrets as they are, in hexadecimal of both cases, and in base64 and base64url at all three
/// positions that octets can have in a longer encoded text.
struct SecretSearch {
    struct Secret {
        let label: String
        let patterns: [(form: String, bytes: [UInt8])]
    }

    struct Finding: CustomStringConvertible, Hashable {
        let label: String
        let form: String
        let file: String
        /// Names what and where, never the secret itself.
        var description: String { "\(label) as \(form) in \(file)" }
    }

    /// Shorter pieces would be found by chance.
    static let minimumLength = 10

    private(set) var secrets: [Secret] = []

    mutating func add(_ label: String, _ bytes: [UInt8]) {
        guard bytes.count >= Self.minimumLength else { return }
        secrets.append(Secret(label: label, patterns: Self.patterns(bytes)))
    }

    mutating func add(_ label: String, _ text: String) { add(label, Array(text.utf8)) }

    /// A compact token: as a whole, and the part that makes it valid.
    mutating func add(token label: String, _ token: String) {
        add(label, token)
        if let signature = token.split(separator: ".").last.flatMap({ Base64URL.decode($0) }) {
            add(label + " (signature)", signature)
        }
    }

    static func patterns(_ bytes: [UInt8]) -> [(form: String, bytes: [UInt8])] {
        let hexadecimal = Hexadecimal.encode(bytes)
        var patterns = [
            ("it is", bytes), ("hexadecimal", Array(hexadecimal.utf8)),
            ("HEXADECIMAL", Array(hexadecimal.uppercased().utf8)),
        ]
        for offset in 0..<3 {
            // Characters that hold bits of the neighbours are left out.
            let padded = [UInt8](repeating: 0, count: offset) + bytes + [0, 0]
            let first = (offset * 8 + 5) / 6
            let last = (offset + bytes.count) * 8 / 6
            let url = Array(Array(Base64URL.encode(padded).utf8)[first..<last])
            patterns.append(("base64url at \(offset)", url))
            let standard = url.map { $0 == UInt8(ascii: "-") ? UInt8(ascii: "+") : $0 == UInt8(ascii: "_") ? 0x2F : $0 }
            if standard != url { patterns.append(("base64 at \(offset)", standard)) }
        }
        return patterns
    }

    // Of the C library, but not among what Swift's module of it shows.
    private static let memmem = unsafeBitCast(
        dlsym(nil, "memmem"),
        to: (@convention(c) (UnsafeRawPointer, Int, UnsafeRawPointer, Int) -> UnsafeRawPointer?).self)

    /// - Returns: every secret with every form of it that stands in a file.
    func findings(in files: [String]) throws -> [Finding] {
        var findings: [Finding] = []
        for file in files {
            let content = try Data(contentsOf: URL(fileURLWithPath: file))
            content.withUnsafeBytes { content in
                guard let begin = content.baseAddress else { return }
                for secret in secrets {
                    for (form, bytes) in secret.patterns
                    where bytes.withUnsafeBytes({ bytes in
                        bytes.baseAddress.flatMap { Self.memmem(begin, content.count, $0, bytes.count) } != nil
                    }) {
                        findings.append(Finding(label: secret.label, form: form, file: file))
                    }
                }
            }
        }
        return findings
    }

    /// All regular files below a folder.
    static func files(below folder: String) -> [String] {
        let names = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        return names.map { folder + "/" + $0 }.filter {
            // Not the control socket.
            (try? URL(filePath: $0).resourceValues(forKeys: [.isRegularFileKey]))?.isRegularFile == true
        }
    }
}
