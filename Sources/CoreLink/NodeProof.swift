package import Cryptography
import LinkProtocol
import TLSChannel
import WireText

/// How a node proves itself to the core: its key, and the signed list of nodes that names it (docs/cluster.md).
package struct NodeProof: Sendable {
    /// Field of the answer to the upgrade: the core's nonce, in base64url.
    static let nonceField = "HDS-Link-Nonce"
    static let maximumNonceBytes = 64

    /// A P-256 key.
    package let key: PrivateKey
    /// The signed list at this moment; nil while there is none.
    package let list: @Sendable () -> String?

    package init(key: PrivateKey, list: @escaping @Sendable () -> String?) {
        self.key = key
        self.list = list
    }

    /// Puts proof and list into a hello for this connection. A core that gave no nonce asks for none.
    func prove(_ hello: inout LinkHello, on socket: any LinkSocket) throws {
        hello.nodeList = list()
        guard let text = socket.answered(Self.nonceField), let nonce = Base64URL.decode(text),
            (1...Self.maximumNonceBytes).contains(nonce.count)
        else { return }
        // Under an inspection both ends see different values: whoever inspects has to be let by the core's operator, too.
        let exporter = socket.tls?.inspection == nil ? socket.tls?.channelBinding?.octets : nil
        hello.proof = try key.sign(hello.provenOctets(exporter: exporter ?? [], nonce: nonce), algorithm: .es256)
    }
}
