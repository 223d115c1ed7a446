package import Diagnostics

/// Files that the commands of the administrator read and write.
package enum SmallFile {
    /// A text of at most 1 MiB that anybody may read, such as a certificate.
    package static func text(_ path: String, kind: String) throws(DiagnosedError) -> String {
        let bytes = try FileAccess.read(path, maximumBytes: 1 << 20, forbidden: 0, kind: kind).bytes
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw DiagnosedError(.fileAccess, fault: .configuration, "\(path): the \(kind) is not text")
        }
        return text
    }

    /// A new file of mode 0600 with one line; one that is there is never overwritten.
    package static func createSecret(_ path: String, line: String) throws(DiagnosedError) {
        guard FileAccess.mode(of: path) == nil else {
            throw DiagnosedError(
                .fileAccess, fault: .configuration, "\(path) is there already", expected: "a path without a file",
                hint: "remove it first if nobody needs the secret in it")
        }
        try FileAccess.replace(path, with: Array((line + "\n").utf8), kind: "secret")
    }
}
