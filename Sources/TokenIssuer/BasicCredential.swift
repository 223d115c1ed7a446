import WireText

/// Client id and secret in an `Authorization: Basic` header (RFC 7617, and RFC 6749, section 2.3.1 for the form encoding of
/// both halves).
enum BasicCredential {
    static func parse(_ header: String?) -> (id: String, secret: String)? {
        guard let header, header.utf8.count <= 4096 else { return nil }
        let parts = header.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "basic", let bytes = Base64.decode(parts[1]),
            let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
        else { return nil }
        guard let id = FormParameters.decoded(bytes[..<colon]), !id.isEmpty,
            let secret = FormParameters.decoded(bytes[(colon + 1)...])
        else { return nil }
        return (id, secret)
    }
}
