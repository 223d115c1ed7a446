package import Diagnostics
import NodeList
import SecretMemory

/// The newest signed list that this node has seen, in a file of its data folder: what the database's owner puts back does
/// not make it forget.
package enum NodeListFile {
    /// Nil when there is none.
    package static func read(_ path: String) throws(DiagnosedError) -> String? {
        guard let octets = try StateFile.read(path, upTo: SignedNodeList.maximumBytes) else { return nil }
        return octets.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    /// On the disk when it returns.
    package static func write(_ text: String, to path: String) throws(DiagnosedError) {
        try StateFile.replace(path, with: SecretBytes(copying: Array(text.utf8)))
    }
}
