import Diagnostics
import WireText

/// Texts in `application/x-www-form-urlencoded` for requests to a provider.
enum FormText {
    static func encode(_ pairs: [(String, String)]) -> String {
        pairs.map { encode($0.0) + "=" + encode($0.1) }.joined(separator: "&")
    }

    /// An endpoint may have a query of its own, which stays (RFC 6749, section 3.1).
    static func appending(_ pairs: [(String, String)], to url: String) -> String {
        url + (url.contains("?") ? (url.hasSuffix("?") || url.hasSuffix("&") ? "" : "&") : "?") + encode(pairs)
    }

    /// HTTP Basic: id and secret are form-encoded before they are joined (RFC 6749, section 2.3.1).
    static func basic(_ id: String, _ secret: Redacted<String>) -> String {
        secret.reveal { "Basic " + Base64.encode(Array("\(encode(id)):\(encode($0))".utf8)) }
    }

    private static func encode(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.append(byte)
            default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
