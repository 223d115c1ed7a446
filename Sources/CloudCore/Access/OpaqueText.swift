import WireText

/// What the core demands of texts that it can not read.
///
/// A client that could not fetch its key has been seen to send plaintext silently. So whatever is to be encrypted must
/// at least have the form of it (section 11 of the KMS protocol); what is inside the core can not tell.
enum OpaqueText {
    /// A compact JWE (RFC 7516, section 7.1) with the header of content: `alg` dir, `enc` A256GCM.
    static func isContent(_ text: String) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[1].isEmpty, parts[4].utf8.count == 22,
            let header = Base64URL.decode(parts[0]), let iv = Base64URL.decode(parts[2]), iv.count == 12,
            Base64URL.decode(parts[3]) != nil, Base64URL.decode(parts[4]) != nil,
            let document = try? JSONDocument(header, limits: .init(maximumBytes: 4096))
        else { return false }
        return document.root["alg"]?.string == "dir" && document.root["enc"]?.string == "A256GCM"
    }

    /// `kms://HOST/COLLECTION/UUID`.
    static func isKMSURI(_ text: String, collection: String, host cluster: String? = nil) -> Bool {
        guard text.utf8.count <= 512, text.hasPrefix("kms://") else { return false }
        let parts = text.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, isHost(parts[0]), parts[1] == collection, UUIDText.isValid(parts[2]) else {
            return false
        }
        return cluster == nil || cluster == "kms://" + parts[0].lowercased()
    }

    static func isHost(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.count <= 253
            && text.utf8.allSatisfy { octet in
                switch octet {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: ":"):
                    true
                default: false
                }
            }
    }
}
